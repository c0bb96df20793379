//! The host's own tables in the handlers' databases, read from outside: what waits in outboxes, and what has
//! ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;

use crate::broker::{Position, Stored};
use crate::deployment::Deployment;
use crate::offsets::Onlooker;
use crate::sqlite::{Database, column};

/// Records and mails that are committed with their events and have not left yet, of all handlers.
///
/// # Errors
/// When a database cannot be read.
pub fn unsent(deployment: &Deployment) -> Result<i64> {
    let mut unsent = 0;
    for handler in deployment.with_databases() {
        let mut database = Database::open(&deployment.database(handler))?;
        unsent += database.number("SELECT count(*) FROM keylane_outbox")?;
    }
    Ok(unsent)
}

/// Which events of a handler had ended when its database was read: those below floors, and those with claims.
pub struct Ended {
    floors: BTreeMap<(String, i32), i64>,
    claims: BTreeSet<(String, i32, i64)>,
}

impl Ended {
    /// Reads a handler's database.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(deployment: &Deployment, handler: &str) -> Result<Self> {
        let mut database = Database::open(&deployment.database(handler))?;
        let floors = database.rows(
            "SELECT topic, partition, floor FROM keylane_stream s JOIN keylane_floor f ON f.stream = s.id",
        )?;
        let claims = database.rows(
            "SELECT topic, partition, event_offset FROM keylane_stream s JOIN keylane_claim c ON c.stream = s.id",
        )?;
        let floor =
            |row| anyhow::Ok(((column(row, "topic")?, column(row, "partition")?), column(row, "floor")?));
        let claim =
            |row| Ok((column(row, "topic")?, column(row, "partition")?, column(row, "event_offset")?));
        Ok(Self {
            floors: floors.iter().map(floor).collect::<Result<_>>()?,
            claims: claims.iter().map(claim).collect::<Result<_>>()?,
        })
    }

    /// How many of a topic's records had not ended.
    #[must_use]
    pub fn open(&self, topic: &str, records: &[Stored]) -> usize {
        let is_open = |record: &&Stored| {
            let place = (topic.to_owned(), record.partition, record.offset);
            let floor = self.floors.get(&(topic.to_owned(), record.partition)).copied().unwrap_or_default();
            record.offset >= floor && !self.claims.contains(&place)
        };
        records.iter().filter(is_open).count()
    }

    /// How many had ended at or above these positions of the handler's group.
    #[must_use]
    pub fn beyond(&self, positions: &[Position]) -> i64 {
        let committed = |topic: &str, partition: i32| {
            let found = positions.iter().find(|at| at.topic == topic && at.partition == partition);
            found.map_or(i64::MAX, |position| position.committed.unwrap_or_default())
        };
        let below_floors = self
            .floors
            .iter()
            .map(|((topic, partition), floor)| floor.saturating_sub(committed(topic, *partition)).max(0));
        let claimed = self
            .claims
            .iter()
            .map(|(topic, partition, offset)| i64::from(*offset >= committed(topic, *partition)));
        below_floors.chain(claimed).sum()
    }
}

/// Waits until every group has committed up to every end, nothing waits in an outbox, and nothing that left
/// one meanwhile was new work for the next handler.
///
/// # Errors
/// When that does not come within the limit.
pub fn until_all_is_done(deployment: &Deployment, onlooker: &mut Onlooker, limit: Duration) -> Result<()> {
    until_all_has_left(deployment, onlooker, limit, || unsent(deployment))
}

/// The same where what has not left is told in another way.
///
/// # Errors
/// As [`until_all_is_done`].
pub fn until_all_has_left(
    deployment: &Deployment,
    onlooker: &mut Onlooker,
    limit: Duration,
    mut unsent: impl FnMut() -> Result<i64>,
) -> Result<()> {
    let subscriptions = deployment.subscriptions();
    let mut waiting_rows = 0;
    let waited = waiting::until("all is done and has left", limit, || {
        onlooker.until_all_is_done(&subscriptions, limit)?;
        let before = onlooker.positions(&subscriptions)?;
        waiting_rows = unsent()?;
        let still = waiting_rows == 0 && onlooker.positions(&subscriptions)? == before;
        Ok(still.then_some(()))
    });
    waited.with_context(|| format!("{waiting_rows} rows in outboxes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Record;

    #[test]
    fn what_is_below_a_floor_or_claimed_has_ended() {
        let topic = || "tasks".to_owned();
        let ended = Ended { floors: [((topic(), 0), 3)].into(), claims: [(topic(), 0, 5)].into() };
        let stored = |partition: i32, offset: i64| {
            let record = Record { key: None, value: None, headers: Vec::new() };
            Stored { partition, offset, record }
        };
        let records: Vec<_> = (0..7).map(|offset| stored(0, offset)).collect();
        assert_eq!(ended.open("tasks", &records), 3, "3, 4 and 6 are open");
        assert_eq!(ended.open("tasks", &[stored(1, 0)]), 1, "nothing is known of this partition");
        let position = |committed| Position {
            group: "g".to_owned(),
            topic: topic(),
            partition: 0,
            committed: Some(committed),
            end: 7,
        };
        assert_eq!(ended.beyond(&[position(1)]), 3, "1, 2 and 5");
        assert_eq!(ended.beyond(&[position(7)]), 0);
    }
}
