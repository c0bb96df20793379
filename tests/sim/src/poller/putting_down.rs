//! Putting partitions down: what runs is finished up to a limit, the rest is broken off, the progress is
//! committed, and only then the group may give the partition to others.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::Ownership;
use tokio::time::Instant;

use super::Poller;
use super::commits::Item;
use super::feed::Feed;
use crate::mutation::Mutation;
use crate::trace::{Note, Why};

/// How often the poller looks whether an owner is done.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// The longest wait until what was broken off is gone.
const REAP_LIMIT: Duration = Duration::from_secs(1);
/// How late the forgetful mutation lets go.
const FORGOTTEN_FOR: Duration = Duration::from_millis(400);

/// An assignment that has ended, with its last word.
pub struct Parting {
    pub item: Item,
    drained: bool,
    gone: bool,
}

impl Poller {
    pub(super) async fn put_down(&mut self, gone: Vec<Feed>, why: Why) {
        if gone.is_empty() {
            return;
        }
        {
            let mut controls = self.process.controls.lock().unwrap();
            controls.retain(|_, (number, _)| gone.iter().all(|feed| feed.number != *number));
        }
        // Nothing is finished or committed of what may be others' by now.
        let gives_back = matches!(why, Why::Revoked | Why::Leaving) && self.lease.holds();
        if gives_back && self.process.mutated(Mutation::DoesNotDrain) {
            self.forget_slowly(gone, why);
            return;
        }
        let mut drained = vec![false; gone.len()];
        if gives_back {
            self.look_for_retries(&gone).await;
            drained = self.drain(&gone).await;
            self.cut_last(&gone).await;
        } else {
            self.remember(&gone);
        }
        let mut partings = Vec::new();
        for (feed, drained) in gone.into_iter().zip(drained) {
            partings.push(self.reap(feed, drained).await);
        }
        if gives_back {
            self.finish(&partings).await;
        }
        for Parting { item, drained, gone } in partings {
            let committed = gives_back && self.commits.has(&item);
            let Item { place, number, truncated, .. } = item;
            self.commits.forget(number);
            self.process.note(Note::Closed { place, number, why, drained, committed, truncated, gone });
        }
    }

    /// Asks all owners to finish what runs, and waits for them together. Answers for each whether it has.
    async fn drain(&mut self, gone: &[Feed]) -> Vec<bool> {
        let until = Instant::now() + Duration::from_millis(self.process.plan.group.drain_ms);
        for Feed { place, number, inbox, .. } in gone {
            inbox.drain();
            self.process.note(Note::Draining { place: *place, number: *number });
        }
        while Instant::now() < until && !gone.iter().all(|feed| feed.inbox.ownership().is_final()) {
            if self.cuts.is_some() {
                self.take_answer();
                self.turn_cuts(gone, false);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut drained = Vec::new();
        for Feed { place, number, inbox, .. } in gone {
            let in_time = inbox.ownership().is_final();
            if !in_time {
                self.process.saw("drain limit passed");
            }
            self.process.note(Note::Drained { place: *place, number: *number, in_time });
            drained.push(matches!(inbox.ownership(), Ownership::Drained));
        }
        drained
    }

    /// Breaks off what runs, and waits until it is gone.
    async fn reap(&self, feed: Feed, drained: bool) -> Parting {
        let mut item = Item::new(feed.place, feed.number, &feed.inbox.progress());
        if drained && self.process.mutated(Mutation::HighestSeenAfterRevoke) {
            (item.offset, item.payload) = (feed.position, Arc::from(""));
        }
        if drained && self.process.mutated(Mutation::LeaksInboxes) {
            std::mem::forget(feed);
            return Parting { item, drained, gone: true };
        }
        let parting = feed.inbox.part();
        let until = Instant::now() + REAP_LIMIT;
        while !parting.is_gone() && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Parting { item, drained, gone: parting.is_gone() }
    }

    /// Whether a revoke comes while something waits for its next attempt.
    async fn look_for_retries(&self, gone: &[Feed]) {
        for feed in gone {
            let control = feed.inbox.control();
            let status = tokio::time::timeout(LOOK_AGAIN, control.status());
            if let Ok(Ok(status)) = status.await
                && status.lanes.parked > 0
            {
                self.process.saw("revoke amid a retry");
            }
        }
    }

    fn remember(&mut self, gone: &[Feed]) {
        let remembers = [Mutation::IgnoresToken, Mutation::CommitsTheLost];
        if remembers.into_iter().any(|mutation| self.process.mutated(mutation)) {
            let told = gone.iter().map(|feed| Item::new(feed.place, feed.number, &feed.inbox.progress()));
            self.commits.remembered.extend(told);
        }
    }

    /// The mutation that answers at once.
    fn forget_slowly(&self, gone: Vec<Feed>, why: Why) {
        for Feed { place, number, .. } in &gone {
            let (place, number) = (*place, *number);
            let (drained, committed, truncated, gone) = (false, false, false, true);
            self.process.note(Note::Closed { place, number, why, drained, committed, truncated, gone });
        }
        tokio::spawn(async move {
            tokio::time::sleep(FORGOTTEN_FOR).await;
            drop(gone);
        });
    }
}
