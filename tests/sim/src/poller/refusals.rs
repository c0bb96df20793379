//! What a refused cut means, as in `host/kafka`: which events are at fault, and who waits for a topic that takes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::Poller;
use super::cuts::{Cuts, Sending};
use crate::cuts::{Fault, topic_of};
use crate::database::Row;
use crate::mutation::Mutation;

impl Poller {
    pub(super) fn refuse(&self, cuts: &mut Cuts, sending: &Sending, refused: &[(Row, Fault)]) {
        self.process.saw("cut: refused");
        let of_record = refused.iter().filter(|(_, fault)| *fault == Fault::Record);
        let mut events: BTreeSet<(i32, i64)> =
            of_record.map(|(row, _)| (row.partition, row.offset)).collect();
        if events.is_empty() {
            self.note_topics(cuts, refused);
            let topics: BTreeSet<u32> = refused.iter().map(|(row, _)| topic_of(row)).collect();
            for row in sending.parts.iter().flat_map(|part| &part.rows) {
                let topic = topic_of(row);
                if !topics.contains(&topic) {
                    continue;
                }
                if cuts.closed.is_at_fault(topic) {
                    self.process.saw("cut: a topic is at fault");
                    events.insert((row.partition, row.offset));
                } else {
                    cuts.closed.wait_for(topic, row.partition);
                }
            }
        }
        self.fail_events(cuts, events);
        cuts.failures = 0;
        cuts.owed.extend(sending.parts.iter().map(|part| part.item.number));
        cuts.next = (sending.begun + self.cut_every()).max(Instant::now());
    }

    /// Of a topic that is gone and silent, the silence counts.
    fn note_topics(&self, cuts: &mut Cuts, refused: &[(Row, Fault)]) {
        let mut topics: BTreeMap<u32, bool> = BTreeMap::new();
        for (row, fault) in refused {
            *topics.entry(topic_of(row)).or_default() |= *fault == Fault::Silence;
        }
        let blames = self.process.mutated(Mutation::SilenceIsFault);
        for (topic, is_silent) in topics {
            self.process.saw(if is_silent { "cut: a topic is silent" } else { "cut: a topic is gone" });
            cuts.closed.note(topic, is_silent && !blames);
        }
    }

    /// What these events gave out was refused for good, so their partitions are taken anew. Where that was known of
    /// one, it is its dead letter that is refused, or an operator had it run again: then the partition waits first.
    fn fail_events(&self, cuts: &mut Cuts, events: BTreeSet<(i32, i64)>) {
        let partitions: BTreeSet<i32> = events.iter().map(|(partition, _)| *partition).collect();
        let mut known = BTreeSet::new();
        for (partition, offset) in events {
            cuts.set_back.insert(partition);
            let of_partition = cuts.refused.entry(partition).or_default();
            if of_partition.insert(offset, "no broker takes it".to_owned()).is_some() {
                known.insert(partition);
            }
        }
        for partition in partitions {
            if known.contains(&partition) {
                self.process.saw("cut: refused once more");
                cuts.closed.wait_on(partition);
            } else {
                cuts.closed.end_wait(partition);
            }
        }
    }
}
