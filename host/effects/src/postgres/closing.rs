//! The end of a run: what is asked and set before it, and what is written, outbox rows and claims, one statement
//! each. Two runs that inserted the same claims in different orders would deadlock; sorted, the second one waits
//! for the first. Outbox rows stand in nobody's way, and keep the order in which they came: of two, the cause has
//! the smaller id.
//!
//! A message costs as much as a statement, so what holds no text of a guest's goes in one: what is asked, the
//! claims (numbers) and COMMIT. Outbox rows are parameters of a statement between them. A message stops at the
//! first word that fails, so each word makes sure that the next ones are right, and how many were carried out
//! tells what the failure means.
//!
//! The statement of the outbox rows is a prepared one of the session, and runs with the host's rights. A function of
//! the handler's could forget it and prepare one of its own under its name, so nothing that was prepared by SQL may
//! be there: the host and the guests prepare by the protocol.

use std::borrow::Cow;

use sqlx::PgConnection;

use crate::database::{EndedAs, OutboxRow};
use crate::postgres::place::{Backend, NOW};

/// What is said of a handler whose function or view took another role, or kept the host from writing.
pub(crate) const SETTINGS_CHANGED: &str = "a function or view of the handler's changed the session's role, had the \
    transaction read only, or prepared a statement of its own";

/// Divides by zero where the role is not the guest's any more, or the transaction only reads. Those two settings a
/// function of the handler's could have changed, and the host cannot set them back; the others are set. And where it
/// has prepared a statement.
const SAME_SETTINGS: &str = "SELECT 1 OPERATOR(pg_catalog./) \
    (pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'keylane_guest' \
     AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_prepared_statement() WHERE from_sql))::pg_catalog.int4";

/// What a word is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The handler's own constraints check what they put off, still as guest.
    PutOff,
    /// Divides by zero where this is not the transaction that began.
    SameTransaction,
    /// [`SAME_SETTINGS`].
    SameSettings,
    /// The host takes its own role, to write.
    Host,
    /// The claims. One that exists, or lies below the floor, fails.
    Claims,
    /// The commit.
    Commit,
}

/// Words that are said in one message.
#[derive(Default)]
pub(crate) struct Words(Vec<(Stage, Cow<'static, str>)>);

impl Words {
    /// What comes first. From its end on the session is the host's.
    pub(crate) fn before(began: Backend) -> Self {
        let same = format!(
            "SELECT 1 OPERATOR(pg_catalog./) ({NOW} OPERATOR(pg_catalog.=) {})::pg_catalog.int4",
            began.at_us
        );
        Self(vec![
            (Stage::PutOff, "SET CONSTRAINTS ALL IMMEDIATE".into()),
            (Stage::PutOff, "SET LOCAL search_path = pg_catalog, pg_temp".into()),
            (Stage::SameTransaction, same.into()),
            (Stage::SameSettings, SAME_SETTINGS.into()),
            (Stage::Host, "SET LOCAL ROLE NONE".into()),
            (Stage::Host, "SET LOCAL statement_timeout = 0".into()),
        ])
    }

    /// Claims: one that lies below the floor has no ending, which the table refuses.
    pub(crate) fn claims(mut self, stream: i64, endings: &[(i64, EndedAs)]) -> Self {
        let mut sorted = endings.to_vec();
        sorted.sort_by_key(|(offset, _)| *offset);
        let Some((lowest, _)) = sorted.first() else { return self };
        let list = |number: fn(&(i64, EndedAs)) -> i64| {
            let numbers: Vec<_> = sorted.iter().map(|ending| number(ending).to_string()).collect();
            numbers.join(",")
        };
        let (offsets, endings) = (list(|(offset, _)| *offset), list(|(_, ended_as)| *ended_as as i64));
        let text = format!("SELECT keylane.claim({stream}, {lowest}, '{{{offsets}}}', '{{{endings}}}')");
        self.0.push((Stage::Claims, text.into()));
        self
    }

    /// The end: the commit waits for the disk, whatever a function has set. What a trigger has put off to this moment
    /// fires as the guest, and one that was written to weaken the commit from there does. What leaves by the relay
    /// loses nothing by that: it leaves after a later commit of the host's own, which presses all before it to the
    /// disk. And whoever finds the server started again takes its partitions anew; a server that has only lost one of
    /// its processes counts as the same.
    pub(crate) fn commit(mut self) -> Self {
        let end = ["SET LOCAL ROLE keylane_guest", "SET LOCAL synchronous_commit = on", "COMMIT"];
        self.0.extend(end.map(|word| (Stage::Commit, Cow::Borrowed(word))));
        self
    }

    /// The message.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(_, word)| &**word).collect::<Vec<_>>().join("; ")
    }

    /// How many come before the last, which is COMMIT.
    pub(crate) fn before_commit(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// What the first word is for that was not carried out, after so many.
    pub(crate) fn stage(&self, carried_out: usize) -> Stage {
        self.0.get(carried_out).map_or(Stage::Commit, |(stage, _)| *stage)
    }
}

/// Outbox rows, by column.
#[derive(Default)]
pub(crate) struct OutboxColumns {
    event_offset: Vec<i64>,
    ordinal: Vec<i32>,
    kind: Vec<i16>,
    topic: Vec<String>,
    key: Vec<Option<Vec<u8>>>,
    value: Vec<Option<Vec<u8>>>,
    headers: Vec<Vec<u8>>,
}

impl OutboxColumns {
    /// In the same order.
    pub(crate) fn of(rows: &[OutboxRow]) -> Self {
        let mut columns = Self::default();
        for row in rows {
            columns.event_offset.push(row.event_offset);
            columns.ordinal.push(row.ordinal);
            columns.kind.push(row.kind as i16);
            columns.topic.push(row.topic.clone());
            columns.key.push(row.key.clone());
            columns.value.push(row.value.clone());
            columns.headers.push(row.headers.clone());
        }
        columns
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.event_offset.is_empty()
    }

    /// Writes them.
    pub(crate) async fn insert(self, connection: &mut PgConnection, stream: i64) -> Result<(), sqlx::Error> {
        let text = "INSERT INTO keylane.outbox \
            (stream, event_offset, ordinal, kind, topic, key, value, headers) \
            SELECT $1, * FROM unnest($2::bigint[], $3::int[], $4::smallint[], $5::text[], $6::bytea[], \
            $7::bytea[], $8::bytea[])";
        let query = sqlx::query(text).bind(stream).bind(self.event_offset).bind(self.ordinal);
        let query = query.bind(self.kind).bind(self.topic).bind(self.key).bind(self.value).bind(self.headers);
        query.execute(connection).await?;
        Ok(())
    }
}
