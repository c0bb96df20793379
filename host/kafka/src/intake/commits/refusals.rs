//! What a refused cut means: which events are at fault, and who waits for a topic that takes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use keylane_engine::{OutgoingRecord, Token, TopicId, TopicPartition};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::closed::ClosedTopics;
use super::cuts::{Cuts, Sending};
use crate::transaction::{Fault, RefusedRecord};

/// Finds the events whose records are at fault: they are to fail. Where it is a topic that takes nothing, all that
/// writes to it waits; when that has lasted for long, and is no mere silence, its events fail. All others are in the
/// next cut. That nobody took a record in time may be the topic's silence or the size of the cut, so the next one is
/// smaller as well.
/// What was given up meanwhile is another's, and not in `owned`: nothing is kept of that.
pub(super) fn refuse(
    cuts: &mut Cuts,
    sending: &Sending,
    refused: &[RefusedRecord],
    owned: &BTreeSet<Token>,
    now: Instant,
) {
    if refused.iter().any(|one| one.fault == Fault::Silence && one.code == Some(Code::MessageTimedOut)) {
        cuts.halve();
    }
    let blame = Blame::of(refused);
    blame.note(&mut cuts.closed, sending, now);
    let (mut events, mut found) = (BTreeMap::new(), false);
    let mut place = 0;
    for part in &sending.parts {
        let partition = &part.item.handed.partition;
        for (offset, records) in &part.endings {
            let of_event: Vec<&RefusedRecord> = (place..)
                .zip(records.iter())
                .filter_map(|(place, record)| blame.find(place, record))
                .collect();
            place += records.len();
            let Some(first) = of_event.first() else { continue };
            found = true;
            if !owned.contains(&part.item.token) {
                continue;
            }
            let is_at_fault =
                |one: &&&RefusedRecord| one.fault == Fault::Record || cuts.closed.is_at_fault(&one.topic);
            match of_event.iter().find(is_at_fault) {
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

/// What a refusal is put down to: single records, if there are such, or else topics.
enum Blame<'a> {
    Records(BTreeMap<usize, &'a RefusedRecord>),
    Topics(BTreeMap<&'a str, &'a RefusedRecord>),
}

impl<'a> Blame<'a> {
    fn of(refused: &'a [RefusedRecord]) -> Self {
        let with = |fault| refused.iter().filter(move |one| one.fault == fault);
        let records: BTreeMap<usize, _> =
            with(Fault::Record).filter_map(|one| Some((one.place?, one))).collect();
        if !records.is_empty() {
            return Self::Records(records);
        }
        // Of a topic that is refused and silent, the silence counts: it tells against nobody.
        let topics = with(Fault::Topic).chain(with(Fault::Silence));
        Self::Topics(topics.map(|one| (one.topic.as_str(), one)).collect())
    }

    /// Writes down which topics have taken nothing.
    fn note(&self, closed: &mut ClosedTopics, sending: &Sending, now: Instant) {
        let Self::Topics(topics) = self else { return };
        let took = now.saturating_duration_since(sending.begun);
        for (topic, RefusedRecord { fault, reason, .. }) in topics {
            match fault {
                Fault::Silence => closed.note_silence(topic, reason, took, now),
                _ => closed.note(topic, reason, now),
            }
        }
    }

    /// Why this record, at this place of the cut, is not taken. Of a topic only those are told that were tried first.
    fn find(&self, place: usize, record: &OutgoingRecord) -> Option<&'a RefusedRecord> {
        match self {
            Self::Records(records) => records.get(&place).copied(),
            Self::Topics(topics) => topics.get(record.topic.as_str()).copied(),
        }
    }
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

    /// What was refused of this partition, which is taken under this id. Of a former topic of its name, whose place it
    /// has taken since it was taken last, nothing is known any more.
    pub(super) fn refused_under(
        &mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> BTreeMap<i64, String> {
        if self.taken_under.get(partition).is_some_and(|former| former.contradicts(&topic_id)) {
            self.forget(partition);
        }
        if topic_id.is_known() {
            self.taken_under.insert(partition.clone(), topic_id);
        }
        self.refused.get(partition).cloned().unwrap_or_default()
    }

    /// What was refused of this partition is forgotten, nor is it waited for.
    pub(super) fn forget(&mut self, partition: &TopicPartition) {
        self.taken_under.remove(partition);
        self.refused.remove(partition);
        self.set_back.remove(partition);
        self.closed.end_wait(partition);
    }
}

#[cfg(test)]
mod tests;
