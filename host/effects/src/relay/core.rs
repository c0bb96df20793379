//! What the relay decides: what a takeover finds, how much it takes at once, who is to blame, how long is
//! waited. Pure: no clock, no I/O.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::relay::ports::Position;
use crate::relay::store::{Numbering, Standing, UnderWay};

/// The most records in one transaction.
pub(crate) const BATCH_ROWS: usize = 1_000;
/// The most bytes in one transaction, but for its first record.
pub(crate) const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// The wait after a first refusal; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait of a row that may be taken later.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The longest wait of a row that is itself at fault: only a changed topic or mailbox would help. One that has to wait
/// for longer was refused before the clock was set back, and is due.
pub(crate) const FINAL_WAIT_MAX: Duration = Duration::from_secs(3_600);
/// The longest wait for a topic that takes nothing. Short: asking whether it is there costs little.
const TOPIC_WAIT_MAX: Duration = Duration::from_secs(10);
/// One that was found out only after a time, in which nothing else was sent, waits up to so many times as long.
const TOPIC_WAIT_TIMES: u32 = 10;
/// The most topics that are remembered as taking nothing; beyond them the longest known is forgotten.
const TOPICS_MAX: usize = 1_000;

/// How far apart the numbers of two batches may be.
const BATCH_STEP_BITS: u32 = 24;

/// The number of the batch after this one. By chance it is one of many, so that no other batch has it: an older
/// copy of the database counts on from where it was, and Kafka may have had a batch of other rows there.
pub(crate) fn next_batch(highest: i64) -> i64 {
    let chance = RandomState::new().hash_one(highest) & ((1 << BATCH_STEP_BITS) - 1);
    highest.saturating_add(1).saturating_add(i64::try_from(chance).unwrap_or_default())
}

/// The first numbering of an outbox. A copy of one that was never reset is known by its batches.
pub(crate) const FIRST_NUMBERING: i64 = 1;

/// What a takeover has to do before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takeover {
    /// Begin a numbering, with this known of the batch under way, which is of the numbering before.
    Begin(UnderWay),
    /// Go on, with this known of the batch under way.
    GoOn(UnderWay),
}

/// Database and Kafka do not tell the same story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Kafka has batches that the database never made.
    #[error(
        "Kafka has batch {kafka} of this outbox, but the database's last one is {highest}: the database was \
         restored from a backup. `keylane outbox reset` goes on, and what was sent since the backup is sent again"
    )]
    Restored {
        /// The batch that Kafka has.
        kafka: i64,
        /// The last one that the database made.
        highest: i64,
    },
    /// Kafka does not have what it had acknowledged.
    #[error(
        "the database knows that Kafka took batch {sent} of this outbox, but the last that Kafka has is {kafka}: \
         Kafka has lost records. What is missing in its topics is in no outbox any more; when that is mended, \
         go on with `keylane outbox reset`"
    )]
    Lost {
        /// The batch that Kafka has.
        kafka: i64,
        /// The last one that it took.
        sent: i64,
    },
    /// Kafka has no position at all.
    #[error(
        "Kafka has no position of this outbox, though a relay has begun: its topic was deleted, or these are \
         other brokers. If records may be sent again, go on with `keylane outbox reset`"
    )]
    NoPosition,
    /// One of them is of another time.
    #[error(
        "Kafka and the database count this outbox under different numberings: one of them was restored from \
         before a `keylane outbox reset`. If records may be sent again, say `keylane outbox reset` once more"
    )]
    OtherNumbering,
}

/// Compares what the database and Kafka say, at each takeover and reconnect.
///
/// The rule: Kafka has the last batch that it is known to have, or the one under way. The database writes
/// nothing of a batch before Kafka's answer, and Kafka's position is in the transaction of the batch itself.
pub(crate) fn compare(standing: &Standing, position: Option<Position>) -> Result<Takeover, Mismatch> {
    let begun = match standing.numbering {
        Numbering::Reset { former, next } => return compare_reset(standing, (former, next), position),
        Numbering::Fresh => return compare_fresh(position),
        Numbering::Begun(begun) => begun,
    };
    let Some(position) = position else { return Err(Mismatch::NoPosition) };
    let (kafka, Standing { sent, highest, .. }) = (position.batch, *standing);
    match kafka {
        _ if position.numbering != begun => Err(Mismatch::OtherNumbering),
        _ if kafka == sent => Ok(Takeover::GoOn(UnderWay::NotSent)),
        _ if kafka == highest => Ok(Takeover::GoOn(UnderWay::Sent)),
        _ if kafka < sent => Err(Mismatch::Lost { kafka, sent }),
        _ => Err(Mismatch::Restored { kafka, highest }),
    }
}

/// What became of the batch that was under way when an operator reset the outbox. Where Kafka's position is
/// not the batch's own, it says nothing: then the operator has decided that records may be sent again. But
/// only once: where batches were sent under the numbering that the operator wanted, or a later one has begun,
/// the database is a copy of before that.
fn compare_reset(
    standing: &Standing,
    (former, next): (i64, i64),
    position: Option<Position>,
) -> Result<Takeover, Mismatch> {
    if let Some(Position { numbering, batch }) = position
        && (numbering > next || (numbering == next && batch > 0))
    {
        return Err(Mismatch::OtherNumbering);
    }
    let own = Position { numbering: former, batch: standing.highest };
    Ok(Takeover::Begin(match standing.highest > standing.sent && position == Some(own) {
        true => UnderWay::Sent,
        false => UnderWay::NotSent,
    }))
}

/// A relay that died while it began has written a position, but sent nothing.
fn compare_fresh(position: Option<Position>) -> Result<Takeover, Mismatch> {
    match position {
        None | Some(Position { numbering: FIRST_NUMBERING, batch: 0 }) => {
            Ok(Takeover::Begin(UnderWay::NotSent))
        }
        Some(Position { numbering: FIRST_NUMBERING, batch }) => {
            Err(Mismatch::Restored { kafka: batch, highest: 0 })
        }
        Some(_) => Err(Mismatch::OtherNumbering),
    }
}

/// How many rows fit into a batch: as many as `bytes` allow, but one at least.
pub(crate) fn fitting(sizes: impl Iterator<Item = usize>, bytes: usize) -> usize {
    let (mut sum, mut count) = (0_usize, 0);
    for size in sizes {
        sum = sum.saturating_add(size);
        if count > 0 && sum > bytes {
            break;
        }
        count += 1;
    }
    count
}

/// One place in so many is for mails that were refused before.
const AGAIN_PART: usize = 4;

/// Which mails are tried next. Those that were refused before have some of the places, whoever has waited longest
/// first, so that however many they are, they keep no others waiting; what one side leaves, the other has.
pub(crate) fn places(fresh: &[i64], again: &[i64], most: usize) -> Vec<i64> {
    let kept = most.div_ceil(AGAIN_PART).min(again.len());
    let first = fresh.len().min(most.saturating_sub(kept));
    fresh.iter().take(first).chain(again.iter().take(most.saturating_sub(first))).copied().collect()
}

/// How long something that was refused so often waits.
pub(crate) fn wait(attempts: u32, is_final: bool) -> Duration {
    doubled(attempts, if is_final { FINAL_WAIT_MAX } else { WAIT_MAX })
}

/// How long a topic waits that took nothing so often before. A try that took long has kept all others waiting:
/// then it is tried ever more seldom, until that is a small part of the time.
fn topic_wait(times: u32, took: Duration) -> Duration {
    let longer = took.saturating_mul(2_u32.saturating_pow(times.min(20)).min(TOPIC_WAIT_TIMES));
    doubled(times, TOPIC_WAIT_MAX).max(longer.min(WAIT_MAX))
}

fn doubled(attempts: u32, most: Duration) -> Duration {
    FIRST_WAIT.saturating_mul(2_u32.saturating_pow(attempts.min(20))).min(most)
}

/// What is to be done about a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Blame {
    /// Rows at fault, by their place in the batch: they wait, and their keys with them.
    pub at_fault: Vec<usize>,
    /// Rows whose topic takes nothing, by their place.
    pub of_topic: Vec<usize>,
}

/// How the relay goes on: how much it takes at once, and what it leaves alone for now. Time is given in.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    rows: usize,
    /// Topics that take nothing: until when, and how often they were refused in a row.
    topics: BTreeMap<String, (Duration, u32)>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { rows: BATCH_ROWS, topics: BTreeMap::new() }
    }

    /// The most rows of the next batch.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The topics that are to be left alone now.
    pub(crate) fn paused(&self, now: Duration) -> Vec<String> {
        self.topics.iter().filter(|(_, (until, _))| *until > now).map(|(topic, _)| topic.clone()).collect()
    }

    /// A batch was sent, with records for these topics.
    pub(crate) fn sent<'a>(&mut self, topics: impl Iterator<Item = &'a str>) {
        self.rows = self.rows.saturating_mul(2).min(BATCH_ROWS);
        if !self.topics.is_empty() {
            for topic in topics {
                self.topics.remove(topic);
            }
        }
    }

    /// A batch was refused: topics that take nothing, and records that may be at fault. With the time now, and
    /// how long that took.
    ///
    /// Brokers take or refuse many records together, so that innocent ones are suspected with the one at
    /// fault. Then less is taken at once, until one stands alone.
    pub(crate) fn refused(
        &mut self,
        (now, took): (Duration, Duration),
        batch: &[&str],
        topics: &[String],
        suspects: &[usize],
    ) -> Blame {
        for topic in topics {
            let (_, times) = self.topics.get(topic).copied().unwrap_or_default();
            let until = now.saturating_add(topic_wait(times, took));
            self.topics.insert(topic.clone(), (until, times.saturating_add(1)));
        }
        while self.topics.len() > TOPICS_MAX {
            self.topics.pop_first();
        }
        let of_topic = |place: &usize| {
            batch.get(*place).is_some_and(|topic| topics.iter().any(|paused| paused == topic))
        };
        let mut suspects: Vec<usize> =
            suspects.iter().copied().filter(|place| *place < batch.len() && !of_topic(place)).collect();
        suspects.sort_unstable();
        suspects.dedup();
        let of_topic: Vec<usize> = (0..batch.len()).filter(of_topic).collect();
        if suspects.len() > 1 || (suspects.is_empty() && of_topic.is_empty() && batch.len() > 1) {
            self.rows = (batch.len() / 2).max(1);
            return Blame { at_fault: Vec::new(), of_topic };
        }
        if suspects.is_empty() && of_topic.is_empty() {
            // Alone and refused, whoever was named.
            return Blame { at_fault: (0..batch.len()).collect(), of_topic };
        }
        Blame { at_fault: suspects, of_topic }
    }
}

#[cfg(test)]
mod tests;
