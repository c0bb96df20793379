//! A position that is not in the log: what is the matter, and what follows.
//!
//! The broker's word is not enough. It may be a late one of an earlier assignment, and the topic may be
//! another one by now. So the partition is not read on, the topic's id is asked for anew, and where the
//! log begins and ends; then it is decided:
//!
//! - another topic: seen to elsewhere, the partition is dropped and taken anew;
//! - the log begins behind the position: records were removed before they were read. Policy decides
//!   whether the partition stops or goes on with the oldest record, and where that has taken effect the
//!   loss is said and counted. If the group takes the partition away before, its next owner finds it;
//! - the log ends before the position, or the client tells of a truncation: records that were read are
//!   gone, and what stands there by now are others. The partition stops;
//! - neither: the position is in the log after all, and is read from.

use std::time::{Duration, Instant};

use keylane_engine::{Token, TopicPartition};
use rdkafka::{Offset, TopicPartitionList};

use super::poller::{Failure, Poller};
use crate::config::Lost;

/// Time before questions that were not answered are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What is the matter with a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// Records were never read.
    Lost(Loss),
    /// The log was cut before the position and ends at `high` now.
    Cut { high: i64 },
    /// It is in the log.
    Sound,
}

fn find(position: i64, is_cut: bool, (low, high): (i64, i64)) -> Finding {
    if is_cut {
        Finding::Cut { high }
    } else if position < low {
        Finding::Lost(Loss { from: position, to: low })
    } else if position > high {
        Finding::Cut { high }
    } else {
        Finding::Sound
    }
}

/// Records that retention removed before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Loss {
    /// The first of them.
    from: i64,
    /// Where the log begins.
    to: i64,
}

impl Loss {
    fn records(self) -> u64 {
        self.to.abs_diff(self.from)
    }

    /// Says and counts it. To be called once, by whoever passes it or stops at it.
    pub(super) fn tell(self, partition: &TopicPartition) {
        let (records, Self { from, to }) = (self.records(), self);
        metrics::counter!("keylane_records_lost_total", "topic" => partition.topic.to_string())
            .increment(records);
        tracing::error!(%partition, records, from, to, "records were removed by retention before they were read");
    }
}

/// Where a partition is to be read on from.
struct Step {
    next: i64,
    /// What is passed by that.
    loss: Option<Loss>,
}

/// What is to be done where the group's commit is the progress.
pub(super) const MEND: &str = "Nothing is skipped silently: set the group's offset with kafka-consumer-groups \
                               --reset-offsets, then restart";
/// And where a database has it.
pub(super) const MEND_BESIDE_DATABASE: &str = "Nothing is skipped silently, and where this partition goes on stands in the handler's database, not in \
     the group's offset: restore the records, or say where it goes on with `keylane replay`, under which what \
     stands in the log from there on is handled, again or for the first time";

impl Poller {
    /// Asks about partitions in trouble, and decides where the answers are there.
    pub(super) fn see_to_trouble(&mut self) -> Result<(), Failure> {
        let troubled = self.feeds.iter().filter(|feed| feed.trouble.is_some());
        for token in troubled.map(|feed| feed.token).collect::<Vec<_>>() {
            if let Some(step) = self.see_to(token) {
                self.read_on(token, step)?;
            }
        }
        Ok(())
    }

    /// Answers where the partition is to be read on from, if it is.
    fn see_to(&mut self, token: Token) -> Option<Step> {
        let topics = &mut self.parts.topics;
        let feed = self.feeds.iter_mut().find(|feed| feed.token == token)?;
        let trouble = feed.trouble.as_mut()?;
        let partition = &feed.partition;
        let unanswered = topics.edges(partition).is_none() && !topics.is_asking_edges(partition);
        if trouble.asked.is_none_or(|at| unanswered && at.elapsed() > ASK_AGAIN) {
            let (offset, reason) = (feed.next, trouble.reason.as_str());
            tracing::warn!(%partition, offset, reason, "the position is not in the log, says the broker; asking why");
            trouble.asked = Some(Instant::now());
            topics.renew();
            topics.ask_edges(partition);
            return None;
        }
        let edges = topics.edges(partition)?;
        let id = topics.id_of(&partition.topic)?;
        if id.contradicts(&feed.topic_id) {
            return None;
        }
        topics.forget_edges(partition);
        let (position, reason, is_cut) = (feed.next, trouble.reason.clone(), trouble.is_cut);
        let mend = feed.mend;
        match find(position, is_cut, edges) {
            Finding::Sound => Some(Step { next: position, loss: None }),
            Finding::Cut { high } if position <= high => {
                feed.stop_reading(&format!(
                    "the log was cut below offset {position} and written on, up to {high} by now: records that \
                     were read are gone, and others stand at their offsets. {mend} ({reason})"
                ));
                None
            }
            Finding::Cut { high } => {
                feed.stop_reading(&format!(
                    "offset {position} is not in the log, which was cut and ends at {high} now: records \
                     that were read are gone. {mend} ({reason})"
                ));
                None
            }
            Finding::Lost(loss) if self.parts.config.lost == Lost::GoOn => {
                Some(Step { next: loss.to, loss: Some(loss) })
            }
            Finding::Lost(loss) => {
                let (records, low) = (loss.records(), loss.to);
                loss.tell(&feed.partition);
                feed.stop_reading(&format!(
                    "offset {position} is not in the log, which begins at {low}: {records} records were \
                     removed by retention before they were read. {mend}, or let the handler go on with \
                     `lost = \"go-on\"`"
                ));
                None
            }
        }
    }

    /// Reads a partition on from another place, under the same owner. What the group says meanwhile comes
    /// first; the partition stays in trouble then, and is seen to again.
    fn read_on(&mut self, token: Token, step: Step) -> Result<(), Failure> {
        self.hear_the_group_out()?;
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.token == token) else { return Ok(()) };
        let partition = feed.partition.clone();
        if feed.is_fetched() {
            feed.put_queue_down();
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.topic, partition.partition);
            self.unassign_unasked(&list)?;
        }
        if !self.changes.is_empty() {
            return Ok(());
        }
        let Some(queue) = self.queue_of(&partition) else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(step.next))
            .map_err(|error| Failure::ForGood(format!("{partition}: {error}")))?;
        self.assign_unasked(&list)?;
        if let Some(feed) = self.feeds.iter_mut().find(|feed| feed.token == token) {
            feed.read_on(queue, step.next, step.loss);
        }
        Ok(())
    }
}

#[cfg(test)]
mod stage;
#[cfg(test)]
mod tests;
