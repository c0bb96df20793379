//! The end of a run: what is asked and set before it, and what is written, outbox rows and claims, one statement
//! each. Two runs that inserted the same claims in different orders would deadlock; sorted, the second one waits
//! for the first. Outbox rows stand in nobody's way, and keep the order in which they came: of two, the cause has
//! the smaller id.
//!
//! A message costs as much as a statement, so all of it goes in one. A message stops at the first word that fails,
//! so each word makes sure that the next ones are right, and how many were carried out tells what the failure
//! means. None of it is a prepared statement: a function of the handler's could put another one under its name,
//! which would run with the host's rights.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::database::{EndedAs, OutboxRow};
use crate::postgres::place::{Backend, NOW};

/// What is said of a handler whose function or view took another role, or kept the host from writing.
pub(crate) const SETTINGS_CHANGED: &str =
    "a function or view of the handler's changed the session's role, or had the transaction read only";

/// Divides by zero where the role is not the guest's any more, or the transaction only reads. Those two settings a
/// function of the handler's could have changed, and the host cannot set them back; the others are set.
const SAME_SETTINGS: &str = "SELECT 1 OPERATOR(pg_catalog./) \
    (pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'keylane_guest' \
     AND pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'off')::pg_catalog.int4";

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
    /// The outbox rows.
    Outbox,
    /// The claims. One that exists, or lies below the floor, fails.
    Claims,
    /// The commit.
    Commit,
}

/// Words that are said in one message.
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

    /// Outbox rows, in their order.
    pub(crate) fn outbox(mut self, stream: i64, rows: &[OutboxRow]) -> Self {
        if !rows.is_empty() {
            self.0.push((Stage::Outbox, insert(stream, rows).into()));
        }
        self
    }

    /// Claims: one that lies below the floor has no ending, which the table refuses.
    pub(crate) fn claims(mut self, stream: i64, endings: &[(i64, EndedAs)]) -> Self {
        let mut sorted = endings.to_vec();
        sorted.sort_by_key(|(offset, _)| *offset);
        let Some((lowest, _)) = sorted.first() else { return self };
        let numbers =
            |number: fn(&(i64, EndedAs)) -> i64| list(sorted.iter().map(|ending| number(ending).to_string()));
        let (offsets, endings) = (numbers(|(offset, _)| *offset), numbers(|(_, ended_as)| *ended_as as i64));
        let text = format!(
            "INSERT INTO keylane.claim (stream, event_offset, ended_as) SELECT {stream}, asked.event_offset, \
             CASE WHEN EXISTS (SELECT FROM keylane.floor WHERE floor.stream = {stream} AND floor.floor > {lowest}) \
             THEN NULL ELSE asked.ended_as END \
             FROM unnest('{offsets}'::bigint[], '{endings}'::smallint[]) AS asked (event_offset, ended_as)"
        );
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

/// Outbox rows as one INSERT, written by column. Texts and bytes stand in base64, which means the same whatever a
/// function of the handler's has set about quotes and backslashes.
fn insert(stream: i64, rows: &[OutboxRow]) -> String {
    let numbers = |number: &dyn Fn(&OutboxRow) -> i64| list(rows.iter().map(|row| number(row).to_string()));
    let bytes = |bytes: &dyn Fn(&OutboxRow) -> Option<&[u8]>| {
        let one = |bytes: &[u8]| format!("\"{}\"", BASE64_STANDARD.encode(bytes));
        list(rows.iter().map(|row| bytes(row).map_or_else(|| "NULL".to_owned(), one)))
    };
    format!(
        "INSERT INTO keylane.outbox (stream, event_offset, ordinal, kind, topic, key, value, headers) \
         SELECT {stream}, event_offset, ordinal, kind, convert_from(decode(topic, 'base64'), 'UTF8'), \
         decode(key, 'base64'), decode(value, 'base64'), decode(headers, 'base64') \
         FROM unnest('{offset}'::bigint[], '{ordinal}'::int[], '{kind}'::smallint[], '{topic}'::text[], \
         '{key}'::text[], '{value}'::text[], '{headers}'::text[]) \
         AS made (event_offset, ordinal, kind, topic, key, value, headers)",
        offset = numbers(&|row| row.event_offset),
        ordinal = numbers(&|row| row.ordinal.into()),
        kind = numbers(&|row| row.kind as i64),
        topic = bytes(&|row| Some(row.topic.as_bytes())),
        key = bytes(&|row| row.key.as_deref()),
        value = bytes(&|row| row.value.as_deref()),
        headers = bytes(&|row| Some(&row.headers)),
    )
}

/// An array, as PostgreSQL reads it.
fn list(elements: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", elements.collect::<Vec<_>>().join(","))
}
