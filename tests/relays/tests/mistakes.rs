//! The checks bite: mistakes built into the models on purpose are each found, and by the check that is there
//! for it.

use std::collections::BTreeSet;
use std::ops::Range;

use keylane_relays::{Mistake, sweep};

/// A mistake must show within so many seeds.
const SEEDS: u64 = 300;

fn is_found_by(check: &str, mistake: Mistake) {
    is_found_within(0..SEEDS, check, mistake);
}

fn is_found_within(seeds: Range<u64>, check: &str, mistake: Mistake) {
    let finds = |report: &keylane_relays::Report| report.breaches.iter().any(|(name, _)| *name == check);
    let summary = sweep(seeds, Some(mistake), finds);
    let others: BTreeSet<&str> =
        summary.broken.values().flat_map(|report| report.breaches.iter().map(|(name, _)| *name)).collect();
    assert!(summary.broken.values().any(finds), "{mistake:?} is not found by {check:?}, only by {others:?}");
}

#[test]
fn a_position_beside_its_transaction_is_found() {
    is_found_by("once", Mistake::PositionAfterwards);
}

#[test]
fn a_sender_that_nobody_ends_is_found() {
    is_found_by("once", Mistake::NoFence);
}

#[test]
fn rows_taken_by_their_numbers_are_found() {
    is_found_by("all", Mistake::BySequence);
}

#[test]
fn keys_that_do_not_wait_are_found() {
    is_found_by("order", Mistake::KeysDoNotWait);
}

#[test]
fn a_relay_row_that_everybody_writes_is_found() {
    is_found_by("alarms", Mistake::NoEpochCheck);
}

#[test]
fn an_older_copy_that_nobody_notices_is_found() {
    is_found_by("once", Mistake::NoComparison);
}

#[test]
fn mails_known_by_their_number_alone_are_found() {
    is_found_by("all", Mistake::MailsByNumber);
}

#[test]
fn batches_in_sequence_are_found() {
    // Two older copies follow each other, and the first one's relay is the second one's too.
    is_found_within(7_050..7_055, "once", Mistake::BatchesInSequence);
}

#[test]
fn numberings_by_a_clock_that_was_ahead_are_found() {
    is_found_by("all", Mistake::NumberingsByTheClock);
}

#[test]
fn mails_begun_without_the_lease_are_found() {
    is_found_by("mails", Mistake::MailsWithoutLease);
}
