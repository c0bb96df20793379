//! The checkers bite: losses that others had, built into the models on purpose, are each caught, and by the
//! checker that is there for it.

#![allow(clippy::panic, reason = "a test")]

use std::collections::BTreeSet;
use std::ops::Range;

use keylane_sim::{Mutation, sweep};

/// A mistake must show within so many seeds.
const SEEDS: u64 = 300;

fn is_caught_by(checker: &str, mutation: Mutation) {
    is_caught_within(0..SEEDS, checker, mutation);
}

fn is_caught_within(seeds: Range<u64>, checker: &str, mutation: Mutation) {
    let summary = sweep(seeds, Some(mutation), |report| report.is_caught_by(checker));
    let caught = summary.broken.values().any(|report| report.is_caught_by(checker));
    let others: BTreeSet<&str> =
        summary.broken.values().flat_map(|report| report.breaches.iter().map(|(name, _)| *name)).collect();
    assert!(caught, "{mutation:?} is not caught by {checker:?}, only by {others:?}");
}

#[test]
fn highest_seen_after_a_revoke_is_caught() {
    is_caught_by("passing", Mutation::HighestSeenAfterRevoke);
}

#[test]
fn records_passed_over_for_a_full_inbox_are_caught() {
    is_caught_by("lost", Mutation::PassesOverTheFull);
}

#[test]
fn a_token_that_is_ignored_is_caught() {
    is_caught_by("tokens", Mutation::IgnoresToken);
}

#[test]
fn a_missing_proof_of_life_is_caught() {
    is_caught_by("lease", Mutation::SkipsProofOfLife);
}

#[test]
fn a_revoke_without_draining_is_caught() {
    is_caught_by("revoke", Mutation::DoesNotDrain);
}

#[test]
fn a_torn_snapshot_of_offset_and_payload_is_caught() {
    is_caught_by("passing", Mutation::TornSnapshot);
}

#[test]
fn an_unreadable_payload_taken_as_progress_is_caught() {
    is_caught_by("passing", Mutation::UnreadableIsProgress);
}

#[test]
fn a_commit_for_a_lost_partition_is_caught() {
    is_caught_by("tokens", Mutation::CommitsTheLost);
}

#[test]
fn counters_that_leak_on_revoke_are_caught() {
    is_caught_by("counters", Mutation::LeaksInboxes);
}

#[test]
fn a_start_from_the_groups_offset_is_caught() {
    is_caught_by("takes", Mutation::BelievesTheGroup);
}

#[test]
fn a_missing_check_of_the_epoch_is_caught() {
    is_caught_by("epochs", Mutation::NoEpochCheck);
    is_caught_by("takes", Mutation::NoEpochCheck);
}

#[test]
fn an_epoch_that_is_a_count_alone_is_caught() {
    is_caught_by("epochs", Mutation::CountWithoutNonce);
}

#[test]
fn memory_kept_over_a_connection_that_broke_is_caught() {
    is_caught_by("epochs", Mutation::TrustsReconnection);
    // What comes of it takes an owner older than the backup that no run tells of the restore.
    is_caught_within(300..500, "floors", Mutation::TrustsReconnection);
}

#[test]
fn claims_read_before_the_wait_are_caught() {
    is_caught_by("takes", Mutation::ReadsClaimsFirst);
}

#[test]
fn pruning_without_a_floor_is_caught() {
    is_caught_by("takes", Mutation::PrunesWithoutFloor);
    is_caught_by("effects", Mutation::PrunesWithoutFloor);
}

#[test]
fn a_dead_letter_without_a_claim_is_caught() {
    is_caught_by("outbox", Mutation::NoClaimForLetter);
}

#[test]
fn a_commit_after_a_swallowed_error_is_caught() {
    is_caught_by("believed", Mutation::CommitsAfterError);
}

#[test]
fn statements_that_commit_by_themselves_are_caught() {
    is_caught_by("effects", Mutation::Autocommits);
}

#[test]
fn outputs_that_leave_before_the_commit_are_caught() {
    is_caught_by("outbox", Mutation::ProducesBeforeCommit);
}

#[test]
fn what_a_failed_event_wrote_is_caught() {
    is_caught_by("effects", Mutation::KeepsTheFailed);
}

#[test]
fn events_of_a_lane_at_once_are_caught() {
    is_caught_by("serial", Mutation::IgnoresLanes);
    is_caught_by("order", Mutation::IgnoresLanes);
}

#[test]
fn what_overtakes_a_failed_event_of_its_lane_is_caught() {
    is_caught_by("sequence", Mutation::LeavesOutTheFailed);
}

#[test]
fn a_neighbour_that_is_charged_is_caught() {
    is_caught_by("retries", Mutation::ChargesNeighbours);
}

#[test]
fn a_partition_that_nobody_takes_again_is_caught() {
    is_caught_by("liveness", Mutation::OvertakenForGood);
}

#[test]
fn a_cut_sent_with_fresh_metadata_is_caught() {
    is_caught_by("cut once", Mutation::FreshMetadata);
}

#[test]
fn a_cut_of_a_partition_given_up_is_caught() {
    is_caught_by("tokens", Mutation::CutWithoutToken);
}

#[test]
fn offsets_beside_their_cut_are_caught() {
    is_caught_by("cut once", Mutation::OffsetsBesideTheCut);
    is_caught_by("cut together", Mutation::OffsetsBesideTheCut);
}

#[test]
fn a_cut_that_is_no_prefix_of_a_lane_is_caught() {
    is_caught_by("cut order", Mutation::CutsNoPrefix);
    is_caught_by("cut together", Mutation::CutsNoPrefix);
}

#[test]
fn a_cut_in_doubt_that_is_made_again_is_caught() {
    is_caught_by("cut once", Mutation::DoubtIsFailure);
}

#[test]
fn a_doubt_that_is_forgotten_in_a_revoke_is_caught() {
    // The revoke has to come while nobody hears.
    is_caught_within(700..900, "cut once", Mutation::ForgetsTheDoubt);
}

#[test]
fn partitions_that_do_not_hear_of_their_commit_are_caught() {
    is_caught_by("cut once", Mutation::DeafensTheKept);
}

#[test]
fn a_proof_of_what_is_in_doubt_is_caught() {
    is_caught_by("cut together", Mutation::ProvesTheDoubtful);
}

#[test]
fn starts_read_amid_anothers_transaction_are_caught() {
    is_caught_within(200..500, "cut together", Mutation::ReadsUnstableOffsets);
}

#[test]
fn commits_amid_a_cut_are_caught() {
    is_caught_by("cut together", Mutation::CutsAmidCommits);
}

#[test]
fn a_cut_that_overtakes_a_commit_that_strayed_is_caught() {
    // The commit has to stray while a partition rests, and that has to stir before it arrives.
    is_caught_within(400..900, "cut together", Mutation::CutsBehindAStray);
}

#[test]
fn an_event_that_fails_for_a_partitions_silence_is_caught() {
    is_caught_by("blamed", Mutation::SilenceIsFault);
}
