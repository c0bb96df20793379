//! Sends records: batch after batch, each in one transaction.

use std::time::Duration;

use keylane_engine::{Epoch, OutgoingRecord};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::database::OutboxKind;
use crate::outbox::record_of;
use crate::relay::core::{self, BATCH_BYTES, BATCH_ROWS, Pace};
use crate::relay::meters;
use crate::relay::news::Listener;
use crate::relay::opening::Opened;
use crate::relay::ports::{Position, RelaySender, SendError};
use crate::relay::store::{Advance, Batch, Refused, Standing, StoredRow, UnderWay};
use crate::relay::task::{End, Work};

/// Time between two looks that find nothing to send, however many rows are told of: those that have to wait are
/// told of as well.
const LOOK_GAP: Duration = Duration::from_millis(10);

/// Sends until the turn ends, or, when the host stops, until all that was there has left.
pub(super) async fn relay(
    work: &Work,
    epoch: Epoch,
    end: &watch::Sender<bool>,
    sender: Box<dyn RelaySender>,
    opened: Opened,
) -> End {
    let name = || work.config.name.clone();
    metrics::gauge!(meters::BATCH_MAX, "database" => name()).set(BATCH_ROWS as f64);
    let Opened { numbering, standing, under_way } = opened;
    let (pace, began) = (Pace::new(), Instant::now());
    let news = work.listen(OutboxKind::Record);
    let mut records = Records { work, sender, numbering, standing, pace, began, news };
    let mut done = Done { under_way, refused: Vec::new() };
    loop {
        // Asked before the look: what is committed behind a look is left only by one that has to stop later.
        let (over, last) = (work.is_over(end), work.is_stopping());
        match records.step(epoch, &mut done, over).await {
            Ok(_) if over => return End::Asked,
            Ok(true) => {}
            Ok(false) if last => match records.is_left().await {
                Ok(true) => {}
                Ok(false) => return End::Asked,
                Err(ended) => return ended,
            },
            Ok(false) => {
                if let Err(ended) = records.wait(end).await {
                    return ended;
                }
            }
            Err(ended) => return ended,
        }
    }
}

/// What became of the batch before.
struct Done {
    under_way: UnderWay,
    refused: Vec<Refused>,
}

impl Default for Done {
    fn default() -> Self {
        Self { under_way: UnderWay::NotSent, refused: Vec::new() }
    }
}

struct Records<'a> {
    work: &'a Work,
    sender: Box<dyn RelaySender>,
    numbering: i64,
    /// Where the outbox was left.
    standing: Standing,
    pace: Pace,
    began: Instant,
    /// Of what was committed since the last look.
    news: Listener,
}

impl Records<'_> {
    /// Ends the batch before and sends the next one, unless it is over. Answers whether there was one.
    async fn step(&mut self, epoch: Epoch, done: &mut Done, over: bool) -> Result<bool, End> {
        self.news.listen();
        let Done { under_way, refused } = std::mem::take(done);
        let step = Advance {
            expected: self.standing,
            under_way,
            refused,
            paused: self.pace.paused(self.began.elapsed()),
            rows: if over { 0 } else { self.pace.rows() },
            bytes: BATCH_BYTES,
            lease: self.work.config.lease,
        };
        let batch = self.work.outbox.advance(epoch, step).await?;
        self.standing = batch.standing;
        if batch.rows.is_empty() {
            return Ok(false);
        }
        *done = self.send(&batch).await?;
        Ok(true)
    }

    async fn send(&mut self, batch: &Batch) -> Result<Done, End> {
        let (records, refused) = decode(&batch.rows);
        if !refused.is_empty() {
            return Ok(Done { under_way: UnderWay::NotSent, refused });
        }
        let position = Position { numbering: self.numbering, batch: batch.standing.highest };
        let name = || self.work.config.name.clone();
        let begun = Instant::now();
        match self.sender.send(records, position).await {
            Ok(()) => {
                self.pace.sent(batch.rows.iter().map(|stored| stored.row.topic.as_str()));
                let count = u64::try_from(batch.rows.len()).unwrap_or(u64::MAX);
                metrics::counter!(meters::RECORDS, "database" => name()).increment(count);
                metrics::counter!(meters::BATCHES, "database" => name()).increment(1);
                Ok(Done { under_way: UnderWay::Sent, refused: Vec::new() })
            }
            Err(SendError::Refused { topics, records, reason }) => {
                metrics::counter!(meters::REFUSED, "database" => name(), "kind" => "record").increment(1);
                Ok(self.blame(batch, (&topics, &records), &reason, begun.elapsed()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn blame(
        &mut self,
        batch: &Batch,
        (topics, suspects): (&[String], &[usize]),
        reason: &str,
        took: Duration,
    ) -> Done {
        let of: Vec<&str> = batch.rows.iter().map(|stored| stored.row.topic.as_str()).collect();
        let blame = self.pace.refused((self.began.elapsed(), took), &of, topics, suspects);
        let name = &self.work.config.name;
        for topic in topics {
            tracing::warn!(database = name, topic, reason, "a topic takes no records now; its rows wait");
        }
        let row = |place: &usize| batch.rows.get(*place);
        let of_topic = blame.of_topic.iter().filter_map(row);
        let of_topic = of_topic.map(|row| Refused { id: row.id, reason: reason.to_owned(), wait: None });
        let at_fault = blame.at_fault.iter().filter_map(row).map(|stored| {
            let wait = core::wait(stored.attempts, true);
            let (row, topic) = (stored.id, &stored.row.topic);
            tracing::warn!(database = name, row, topic, reason, ?wait, "a record was refused; its key waits");
            Refused { id: stored.id, reason: reason.to_owned(), wait: Some(wait) }
        });
        Done { under_way: UnderWay::NotSent, refused: of_topic.chain(at_fault).collect() }
    }

    /// Whether there is something to send, though a step has found nothing: it puts a bounded number of rows aside
    /// that have to wait.
    async fn is_left(&mut self) -> Result<bool, End> {
        let paused = self.pace.paused(self.began.elapsed());
        Ok(self.work.outbox.has_records(&paused).await?)
    }

    /// Waits until there is something to send, the turn ends or the host stops.
    async fn wait(&mut self, end: &watch::Sender<bool>) -> Result<(), End> {
        while !self.work.rest(end, self.work.config.look, &mut self.news).await {
            self.news.listen();
            if self.is_left().await? || self.work.pause(end, LOOK_GAP).await {
                break;
            }
        }
        Ok(())
    }
}

/// The records of a batch, or which of its rows are none.
fn decode(rows: &[StoredRow]) -> (Vec<OutgoingRecord>, Vec<Refused>) {
    let (mut records, mut refused) = (Vec::with_capacity(rows.len()), Vec::new());
    for stored in rows {
        match record_of(&stored.row) {
            Ok(record) => records.push(record),
            Err(error) => {
                let wait = Some(core::wait(stored.attempts, true));
                refused.push(Refused { id: stored.id, reason: error.to_string(), wait });
            }
        }
    }
    (records, refused)
}
