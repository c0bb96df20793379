//! The checkers bite: losses that others had, built into the model of the poller on purpose, are each
//! caught, and by the checker that is there for it.

#![allow(clippy::panic, reason = "a test")]

use keylane_sim::{Mutation, sweep};

/// A mistake must show within so many seeds.
const SEEDS: u64 = 300;

fn is_caught_by(checker: &str, mutation: Mutation) {
    let summary = sweep(0..SEEDS, Some(mutation), |report| report.is_caught_by(checker));
    let caught = summary.broken.values().any(|report| report.is_caught_by(checker));
    let others: Vec<&str> =
        summary.broken.values().flat_map(|report| report.breaches.iter().map(|(name, _)| *name)).collect();
    assert!(caught, "{mutation:?} is not caught by {checker:?}, only by {others:?}");
}

#[test]
fn highest_seen_after_a_revoke_is_caught() {
    is_caught_by("passing", Mutation::HighestSeenAfterRevoke);
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
