//! What a refused cut means: which events are at fault, and who waits for a topic that takes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use keylane_engine::TopicPartition;

use super::cuts::{Cuts, Sending};
use crate::transaction::{Fault, RefusedRecord, fault};

/// Finds the events whose records are at fault: they are to fail. Where it is a topic that takes nothing, their
/// partitions wait until that has lasted for long. All others are in the next cut.
pub(super) fn refuse(cuts: &mut Cuts, sending: &Sending, refused: &[RefusedRecord], now: Instant) {
    let of_record = refused.iter().any(|one| fault(one.code) == Fault::Record);
    if !of_record {
        let topics: BTreeMap<&str, &str> =
            refused.iter().map(|one| (one.topic.as_str(), one.reason.as_str())).collect();
        topics.into_iter().for_each(|(topic, reason)| cuts.closed.note(topic, reason, now));
    }
    let is_meant = |one: &&RefusedRecord| !of_record || fault(one.code) == Fault::Record;
    let by_place: BTreeMap<usize, &RefusedRecord> =
        refused.iter().filter(is_meant).filter_map(|one| Some((one.place?, one))).collect();
    let (mut events, mut found) = (BTreeMap::new(), false);
    let mut place = 0;
    for part in &sending.parts {
        let partition = &part.item.handed.partition;
        for (offset, records) in &part.endings {
            let own = place..place + records.len();
            place = own.end;
            let Some((_, first)) = by_place.range(own.clone()).next() else { continue };
            found = true;
            let mut of_event = by_place.range(own).map(|(_, one)| one);
            match of_event.find(|one| of_record || cuts.closed.is_at_fault(&one.topic)) {
                Some(one) => {
                    let reason = format!("a record for {} was refused: {}", one.topic, one.reason);
                    events.insert((partition.clone(), *offset), reason);
                }
                None => {
                    let reason = format!("{}: {}", first.topic, first.reason);
                    cuts.closed.wait_for(&first.topic, partition, reason);
                }
            }
        }
    }
    if !found {
        let reason = refused.first().map(|one| format!("{}: {}", one.topic, one.reason));
        return cuts.fail(&sending.parts, reason.unwrap_or_default());
    }
    cuts.refuse(events, now);
    cuts.failures = 0;
    cuts.owed.extend(sending.parts.iter().map(|part| part.item.token));
    cuts.rest(sending.begun);
}

impl Cuts {
    /// These events' records were refused for good, so their partitions are taken anew. Where that was known of one,
    /// it is its dead letter that is refused now, or an operator had it run again: then the partition waits first.
    fn refuse(&mut self, events: BTreeMap<(TopicPartition, i64), String>, now: Instant) {
        self.meters.refused.increment(events.len() as u64);
        let partitions: BTreeSet<TopicPartition> =
            events.keys().map(|(partition, _)| partition.clone()).collect();
        let mut known = BTreeMap::new();
        for ((partition, offset), reason) in events {
            tracing::error!(%partition, offset, reason, "what the event gave out was refused for good");
            self.set_back.insert(partition.clone(), format!("offset {offset}: {reason}"));
            let before = self.refused.entry(partition.clone()).or_default().insert(offset, reason.clone());
            known.extend(before.map(|_| (partition, reason)));
        }
        for partition in partitions {
            match known.remove(&partition) {
                Some(reason) => self.closed.wait_on(&partition, reason, now),
                None => self.closed.end_wait(&partition),
            }
        }
    }
}
