//! Taking partitions: read what the group has committed, prove the membership by committing the same, and
//! only then start the owners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{
    Assignment, GapSet, Restored, RestoredNote, Token, TopicId, TopicPartition, Wake, payload_of, restore,
};
use tokio::time::Instant;

use super::commits::Item;
use super::feed::{Feed, TOPIC};
use super::{Poller, TAKE_EVERY};
use crate::coordinator::Committed;
use crate::mutation::Mutation;
use crate::trace::Note;
use crate::wire::{Answer, Request};

/// The topic's id.
pub const TOPIC_ID: TopicId = TopicId::new(*b"the model's own!");

/// What is known of a partition before it is taken.
struct Found {
    restored: Restored,
    /// What is committed to prove the membership: the same as was found.
    item: Item,
}

impl Poller {
    pub(super) async fn take_waiting(&mut self) {
        // Meanwhile the group may have gone on.
        if !self.membership.has_change() {
            self.take_what_is_held().await;
        }
        let due: BTreeSet<i32> =
            self.waiting.iter().copied().filter(|partition| self.holding.is_due(*partition)).collect();
        if due.is_empty() || Instant::now() < self.next_take || self.is_cutting() {
            return;
        }
        self.next_take = Instant::now() + TAKE_EVERY;
        let limit = Duration::from_millis(self.process.plan.group.request_ms);
        let all = || (0..self.process.plan.log.partitions).collect();
        let partitions = if self.claims.is_some() { all() } else { due.clone() };
        let stable = !self.process.mutated(Mutation::ReadsUnstableOffsets);
        let asked = Request::Fetch { partitions, stable };
        let Some(Answer::Fetched(committed)) = self.process.wire.ask(self.handler, asked, limit).await else {
            return;
        };
        let reports: Vec<Item> =
            due.iter().filter_map(|partition| self.report_of(*partition, &committed)).collect();
        if !reports.is_empty() {
            if self.prove(reports.clone()).await && !self.membership.has_change() {
                self.ask_for(reports, &committed);
            }
            return;
        }
        let found: Vec<Found> = due.iter().map(|partition| self.find(*partition, &committed)).collect();
        if self.process.mutated(Mutation::SkipsProofOfLife) {
            self.lease.renew(self.lease.now());
        } else if !self.prove(found.iter().map(|one| one.item.clone()).collect()).await {
            return;
        }
        // Meanwhile the group may have gone on.
        if self.membership.has_change() {
            return;
        }
        for one in found {
            self.take(one);
        }
    }

    fn find(&self, partition: i32, committed: &BTreeMap<i32, Committed>) -> Found {
        let (place, number) = (self.place(partition), self.process.next_number());
        let item = |offset: i64, payload: Arc<str>| Item { place, number, offset, payload, truncated: false };
        let Some(committed) = committed.get(&partition) else {
            let gap = GapSet::at(0);
            let payload = payload_of(&gap, TOPIC_ID).0;
            return Found { restored: Restored { gap, note: RestoredNote::Empty }, item: item(0, payload) };
        };
        let mut restored = restore(committed.offset, &committed.metadata, TOPIC_ID);
        self.process.saw(match restored.note {
            RestoredNote::Ours if restored.gap.ended.is_empty() => "restored: ours",
            RestoredNote::Ours => "restored: a gap",
            RestoredNote::Empty => "restored: empty",
            RestoredNote::Unreadable => "restored: unreadable",
            RestoredNote::OtherTopic(_) => "restored: another topic",
            RestoredNote::OfDatabase(_) => "restored: of a database",
        });
        if restored.note == RestoredNote::Unreadable && self.process.mutated(Mutation::UnreadableIsProgress) {
            let end = self.process.topic.ends()[partition as usize];
            restored.gap = GapSet::at(end.max(committed.offset));
        }
        let ours = restored.note == RestoredNote::Ours;
        let same = std::str::from_utf8(&committed.metadata).ok().filter(|_| ours);
        let payload = same.map_or_else(|| payload_of(&restored.gap, TOPIC_ID).0, Arc::from);
        let item = item(restored.gap.base, payload);
        Found { restored, item }
    }

    fn take(&mut self, found: Found) {
        let Found { restored, item: Item { place, number, .. } } = found;
        let GapSet { base, ended } = restored.gap.clone();
        let note = format!("{:?}", restored.note);
        self.process.note(Note::Taken { place, number, base, ended, note });
        let refused = self.cuts.as_ref().map(|cuts| cuts.refused(place.partition));
        for offset in refused.iter().flat_map(BTreeMap::keys).copied() {
            self.process.note(Note::Refused { place, number, offset });
        }
        let token = Token::numbered(number);
        let doorbell = self.doorbell.clone();
        let wake: Wake = Arc::new(move || doorbell.notify_one());
        let inbox = self.owners.assign(Assignment {
            partition: TopicPartition { topic: TOPIC.into(), partition: place.partition },
            token,
            restored: restored.gap,
            fence: None,
            refused,
            topic_id: TOPIC_ID,
            lease: self.lease.clone(),
            wake,
        });
        self.process.controls.lock().unwrap().insert(place, (number, inbox.control()));
        self.waiting.remove(&place.partition);
        self.feeds.push(Feed::new(place, number, token, inbox, base));
    }
}
