//! Putting partitions down: their owners finish what runs, or are broken off, and are awaited.
//!
//! Who waits: the polling thread, for at most the drain limit and [`REAP_LIMIT`]. Who wakes: nobody, it
//! looks. All owners are told first and awaited together, so that one that is slow to end does not let
//! the others go on.
//!
//! A run may outlive both limits: one that does not yield, or whose machine is starved. Then the
//! partitions go without it, which loses nothing. What is committed is the progress at the parting, and the
//! run's own end finds nobody who would add to it: its owner only waits for it, and its inbox is gone. It
//! begins no further event, because runs that are told to stop ask before each. The event that it is at may
//! still take effect and be repeated by the new owner, as after a crash; in one database the two
//! transactions come one after the other, since SQLite lets in one writer. So the reap limit is no part of
//! the drain's, which is for runs that are to be finished: longer waiting would only delay the group.

use std::time::{Duration, Instant};

use keylane_engine::TopicPartition;

use super::Shared;
use super::assignment::names;
use super::commits::Committer;
use super::feed::{Feed, Parting};

/// The longest wait until the runs of partitions that were given up are broken off. One that yields is in
/// milliseconds.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// Time between two looks whether they are.
const REAP_LOOK: Duration = Duration::from_millis(2);
/// Time between two looks at what else is due while partitions drain.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Asks the owners of `gone` to finish what runs, and waits for them together. Commits go on meanwhile,
/// for them and for those that are `kept`: a long drain must not cost the proof of life.
pub(super) fn drain(
    gone: &[Feed],
    kept: &[Feed],
    commits: &mut Committer,
    shared: &Shared,
    until: Instant,
) -> bool {
    for feed in gone {
        feed.inbox.drain();
    }
    loop {
        let runs = |feed: &&Feed| !feed.inbox.ownership().is_final();
        let Some(next) = gone.iter().find(runs) else { return true };
        let now = Instant::now();
        if now >= until {
            let late: Vec<&TopicPartition> = gone.iter().filter(runs).map(|feed| &feed.partition).collect();
            let partitions = names(late);
            tracing::warn!(partitions, "not drained in time; what runs is broken off and repeats");
            return false;
        }
        let _ended = next.inbox.wait_drained(DRAIN_LOOK.min(until - now));
        commits.turn(gone.iter().chain(kept), now);
        shared.turned();
    }
}

/// Ends all owners, and waits until what was broken off is gone: nobody else may have the partitions
/// before. Answers their last words.
pub(super) fn reap(gone: Vec<Feed>) -> Vec<Parting> {
    let partings: Vec<Parting> = gone.into_iter().map(Feed::part).collect();
    let until = Instant::now() + REAP_LIMIT;
    loop {
        let late = partings.iter().filter(|parting| !parting.owner.is_gone());
        let late: Vec<&TopicPartition> = late.map(|parting| &parting.partition).collect();
        if late.is_empty() {
            return partings;
        }
        if Instant::now() >= until {
            let partitions = names(late);
            tracing::warn!(
                partitions,
                "what runs is not broken off in time; the partitions are given up all the same"
            );
            return partings;
        }
        std::thread::sleep(REAP_LOOK);
    }
}
