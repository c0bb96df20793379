//! The engine's port to progress, [`Claims`], over a handler's write database: who owns a partition there,
//! and the endings that are no runs.
//!
//! Who owns: each call holds one transaction of its own, for as long as it lasts. Who waits: the intake for a
//! take, the owner for the others. What bounds: the driver's own clock, and [`CONFLICT_TRIES`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{
    Boxed, Claims, ClaimsError, DeadLetter, Fence, GapSet, Hold, LogPosition, OutgoingRecord, TopicId,
    TopicPartition,
};
use tokio::sync::OnceCell;

use crate::database::{Database, EndedAs, OutboxRow, StreamKey};
use crate::error::{BeginError, DatabaseError, FinishError};
use crate::outbox::record_row;

/// Makes the record that a dead letter becomes: `effects` knows no topic of Kafka's.
pub type LetterForm = Arc<dyn Fn(&DeadLetter) -> OutgoingRecord + Send + Sync>;

/// How often an ending that another transaction was in the way of is tried again at once.
const CONFLICT_TRIES: u32 = 5;
/// How long is waited before the first of these tries, and so much longer before each further one.
const CONFLICT_WAIT: Duration = Duration::from_millis(20);
/// How long the closing statements of an ending may take.
const ENDING_LIMIT: Duration = Duration::from_secs(30);

/// Whose claims these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimsConfig {
    /// The fleet.
    pub fleet: String,
    /// The handler.
    pub handler: String,
    /// The id of the Kafka cluster that the events come from. A database serves one cluster.
    pub cluster: String,
    /// How long a take waits for what the former owner has open before it ends that.
    pub take_limit: Duration,
}

impl ClaimsConfig {
    /// How long a take waits by default. Whoever is alive has drained before its partition is given away, so
    /// only what is stopped or lost is waited for.
    pub const TAKE_LIMIT: Duration = Duration::from_secs(5);

    /// All else by default.
    #[must_use]
    pub fn new(fleet: impl Into<String>, handler: impl Into<String>, cluster: impl Into<String>) -> Self {
        let (fleet, handler, cluster) = (fleet.into(), handler.into(), cluster.into());
        Self { fleet, handler, cluster, take_limit: Self::TAKE_LIMIT }
    }
}

/// The claims of one handler in its write database.
pub struct HandlerClaims {
    database: Arc<dyn Database>,
    config: ClaimsConfig,
    letters: LetterForm,
    /// Set once the database has said that it belongs to this cluster.
    cluster: OnceCell<()>,
}

impl HandlerClaims {
    /// Asks the database nothing yet.
    #[must_use]
    pub fn new(database: Arc<dyn Database>, config: ClaimsConfig, letters: LetterForm) -> Self {
        Self { database, config, letters, cluster: OnceCell::new() }
    }

    /// Whether the database belongs to this Kafka cluster; one that belongs to none yet belongs to it from
    /// now on. Every settling and take asks it first, until it was answered once; a host may ask at its start.
    ///
    /// # Errors
    /// `Refused` where the database serves another cluster, `Unavailable` where it does not answer.
    pub async fn check_cluster(&self) -> Result<(), ClaimsError> {
        let asking = self.cluster.get_or_try_init(|| self.database.bind_cluster(&self.config.cluster));
        asking.await.copied().map_err(told)
    }

    /// A topic is known by its id: under its name another one may have been made meanwhile. So one that has none
    /// could not be told from others.
    fn key(&self, topic: &str, topic_id: TopicId, partition: i32) -> Result<StreamKey, ClaimsError> {
        if !topic_id.is_known() {
            return Err(ClaimsError::Refused(format!(
                "the brokers tell no id of the topic {topic:?}, and without ids the progress of one topic cannot be \
                 told from another's: a handler that writes to a database needs brokers that have them (Apache \
                 Kafka from 2.8 on)"
            )));
        }
        Ok(StreamKey {
            fleet: self.config.fleet.clone(),
            handler: self.config.handler.clone(),
            topic: topic.to_owned(),
            topic_id,
            partition,
        })
    }

    /// Ends one event in a transaction of its own.
    async fn end(
        &self,
        fence: Fence,
        outbox: &[OutboxRow],
        offset: i64,
        ended_as: EndedAs,
    ) -> Result<(), ClaimsError> {
        let mut tries = 1;
        loop {
            let run = self.database.begin(&fence).await.map_err(not_begun)?;
            let said = match run.finish(outbox, &[(offset, ended_as)], ENDING_LIMIT).await {
                Ok(()) | Err(FinishError::ClaimExists) => return Ok(()),
                Err(FinishError::NotOwner) => return Err(ClaimsError::NotOwner),
                Err(FinishError::Unknown(said)) => return Err(ClaimsError::Unknown(said)),
                Err(FinishError::Refused(said)) => return Err(ClaimsError::Refused(said)),
                Err(FinishError::Database(error)) => return Err(told(error)),
                Err(FinishError::Conflict(said) | FinishError::Waited(said) | FinishError::Void(said)) => {
                    said
                }
            };
            if tries == CONFLICT_TRIES {
                return Err(ClaimsError::Unavailable(said));
            }
            tokio::time::sleep(CONFLICT_WAIT.saturating_mul(tries)).await;
            tries += 1;
        }
    }
}

impl Claims for HandlerClaims {
    fn database(&self) -> &str {
        &self.database.identity().database
    }

    fn settle<'a>(
        &'a self,
        topic: &'a str,
        topic_id: TopicId,
        offered: &'a [(i32, i64)],
    ) -> Boxed<'a, Result<BTreeMap<i32, i64>, ClaimsError>> {
        Box::pin(async move {
            self.check_cluster().await?;
            let key = self.key(topic, topic_id, 0)?;
            self.database.settle_start(&key, offered).await.map_err(told)
        })
    }

    fn take<'a>(
        &'a self,
        partition: &'a TopicPartition,
        topic_id: TopicId,
    ) -> Boxed<'a, Result<Option<Hold>, ClaimsError>> {
        Box::pin(async move {
            self.check_cluster().await?;
            let key = self.key(&partition.topic, topic_id, partition.partition)?;
            let taken = self.database.take(&key, self.config.take_limit).await.map_err(told)?;
            let Some(floor) = taken.floor else { return Ok(None) };
            let mut restored = GapSet { base: floor, ended: Vec::new() };
            claimed(&mut restored, &taken.ended);
            Ok(Some(Hold { fence: taken.fence, restored, floor, position: taken.position }))
        })
    }

    fn bury(&self, fence: Fence, letter: DeadLetter) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(async move {
            let offset = letter.event.offset;
            // The event's own outputs went with its last attempt: the letter is its first and only one.
            let row = record_row(offset, 0, &(self.letters)(&letter));
            self.end(fence, &[row], offset, EndedAs::DeadLettered).await
        })
    }

    fn skip(&self, fence: Fence, offset: i64) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(self.end(fence, &[], offset, EndedAs::Skipped))
    }

    fn raise_floor(
        &self,
        fence: Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<bool, ClaimsError>> {
        Box::pin(async move {
            let pruned = self.database.raise_floor(&fence, floor, position).await.map_err(not_begun)?;
            metrics::counter!("keylane_claims_pruned_total", "handler" => self.config.handler.clone())
                .increment(pruned.claims);
            Ok(pruned.more)
        })
    }
}

/// Adds claims, sorted and at or above the base, to a gap set. Those that follow the base without a gap
/// raise it.
fn claimed(restored: &mut GapSet, offsets: &[i64]) {
    for offset in offsets {
        let next: Range<i64> = *offset..offset.saturating_add(1);
        match restored.ended.last_mut() {
            None if restored.base == next.start => restored.base = next.end,
            Some(last) if last.end == next.start => last.end = next.end,
            _ => restored.ended.push(next),
        }
    }
}

fn not_begun(error: BeginError) -> ClaimsError {
    match error {
        BeginError::NotOwner => ClaimsError::NotOwner,
        BeginError::Database(error) => told(error),
    }
}

fn told(error: DatabaseError) -> ClaimsError {
    let said = error.to_string();
    if error.can_retry() { ClaimsError::Unavailable(said) } else { ClaimsError::Refused(said) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_become_a_sound_gap_set() {
        for (base, offsets, expected) in [
            (5, vec![], GapSet::at(5)),
            (5, vec![5, 6], GapSet::at(7)),
            (5, vec![7], GapSet { base: 5, ended: std::iter::once(7..8).collect() }),
            (5, vec![5, 7, 8, 10], GapSet { base: 6, ended: vec![7..9, 10..11] }),
        ] {
            let mut restored = GapSet::at(base);
            claimed(&mut restored, &offsets);
            assert_eq!(restored, expected);
            assert!(restored.is_sound());
        }
    }
}
