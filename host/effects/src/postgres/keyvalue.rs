//! Values by key on PostgreSQL. The table is the host's, so each request takes the host's role for its one
//! statement, in one message that gives it back. Keys and values stand in that message in hexadecimal digits
//! alone, which end no literal whatever a handler's function has set.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::config::Isolation;
use crate::database::RunTransaction;
use crate::error::{StatementError, StatementFailed};
use crate::keyvalue::{KeyAsk, KeyRequest, KeyRow, too_much};
use crate::postgres::closing::SETTINGS_CHANGED;
use crate::postgres::faults;
use crate::postgres::read::{self, Failure};
use crate::postgres::run::Run;
use crate::postgres::tables::{GUEST, GUEST_PATH};

/// Only a session that is still the guest's goes on: otherwise the way back would hide that a handler's
/// function took the host's role. It divides by zero.
const ENTER: &str = "SELECT 1 OPERATOR(pg_catalog./) \
    (pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'keylane_guest')::pg_catalog.int4; \
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL ROLE NONE; ";
/// The class of the locks by which runs that change a value by what it is wait for each other. A row's own
/// lock is none where there is no row yet.
const LOCK_CLASS: i32 = 0x6b_65_79;
/// Says that another run has set what this one is about to change.
const SET_MEANWHILE: &str = "another run has set a value that this one did not find and is about to change";

/// Keys that a read-committed run has looked up for a change and found without a value, by their bucket. A value
/// that is there is locked by its row, so that whoever sets or deletes it waits. Where there is none, what another
/// run sets meanwhile must not be overwritten: the run inserts such a key and replaces nothing. Locks of whoever
/// sets any key would do as well, but the server has room for some thousand in all, and a run may set more.
#[derive(Default)]
pub(crate) struct Missing(HashSet<(String, Vec<u8>)>);

impl Missing {
    /// What was undone may have been the deletion of such a key.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    fn has(&self, bucket: &str, key: &[u8]) -> bool {
        !self.0.is_empty() && self.0.contains(&(bucket.to_owned(), key.to_vec()))
    }

    /// Notes what a request has found or set.
    fn note(&mut self, request: &KeyRequest, found: &[KeyRow]) {
        let place = |key: &Vec<u8>| (request.bucket.clone(), key.clone());
        match &request.ask {
            KeyAsk::Get { keys, for_change: true, .. } => {
                self.0.extend(keys.iter().map(place));
                for row in found {
                    self.0.remove(&place(&row.key));
                }
            }
            KeyAsk::Put(pairs) if !self.0.is_empty() => {
                for (key, _) in pairs {
                    self.0.remove(&place(key));
                }
            }
            _ => {}
        }
    }
}

/// A step of the run.
pub(crate) async fn step(
    mut run: Box<Run>,
    request: KeyRequest,
    deadline: Duration,
) -> Result<(Vec<KeyRow>, Box<dyn RunTransaction>), StatementFailed> {
    if run.failed {
        return Err(run.refused());
    }
    let answer = match answer(&mut run, request, deadline).await {
        Err(Failure::Said(error)) if faults::is_division(&error) => Err(Failure::Refused(SETTINGS_CHANGED)),
        Err(Failure::Said(error)) if faults::code(&error) == Some(faults::UNIQUE) => {
            Err(Failure::Conflict(SET_MEANWHILE))
        }
        answer => answer,
    };
    run.settle(answer, deadline).await
}

async fn answer(run: &mut Run, request: KeyRequest, deadline: Duration) -> Result<Vec<KeyRow>, Failure> {
    let isolation = run.server.isolation;
    let (text, locks) = text(&request, isolation, &run.missing);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    run.ready(deadline).await?;
    let times = (deadline, read::lock_waits(&run.server));
    let said =
        async { Ok(run.session.say(format!("{ENTER}{text}; {GUEST_PATH}; SET LOCAL ROLE {GUEST}")).await?) };
    let rows = read::within(&run.server.runs.watch, run.backend, times, said).await?;
    let bytes_max = match request.ask {
        KeyAsk::Get { bytes_max, .. } => Some(bytes_max),
        _ => None,
    };
    // The first row is the one of the role, then comes one for each lock.
    let rows = rows.iter().skip(1 + locks).map(|row| key_row(row, bytes_max));
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    // A serializable run that changes what another one has changed meanwhile is refused by the server.
    if isolation == Isolation::ReadCommitted {
        run.missing.note(&request, &rows);
    }
    Ok(rows)
}

/// The statement, and how many locks are taken before it; nothing where nothing is asked.
fn text(request: &KeyRequest, isolation: Isolation, missing: &Missing) -> (String, usize) {
    let bucket = format!("convert_from({}, 'UTF8')", bytes(request.bucket.as_bytes()));
    match &request.ask {
        KeyAsk::Get { keys, .. } if keys.is_empty() => (String::new(), 0),
        KeyAsk::Get { keys, for_change, bytes_max } => {
            let locks = if *for_change { locks(&request.bucket, keys) } else { Vec::new() };
            let is_held = *for_change && isolation == Isolation::ReadCommitted;
            (locks.concat() + &get(&place(&bucket, keys), is_held, *bytes_max), locks.len())
        }
        KeyAsk::Put(pairs) => {
            let is_missing = |(key, _): &&(Vec<u8>, Vec<u8>)| missing.has(&request.bucket, key);
            let (new, any): (Vec<_>, Vec<_>) = pairs.iter().partition(is_missing);
            let replaces = " ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value";
            let inserts = [insert(&bucket, &new, ""), insert(&bucket, &any, replaces)];
            let inserts: Vec<_> = inserts.into_iter().flatten().collect();
            (inserts.join("; "), 0)
        }
        KeyAsk::Delete(keys) => {
            // What the run did not find it does not delete: another one may have set it since.
            let keys: Vec<_> =
                keys.iter().filter(|key| !missing.has(&request.bucket, key)).cloned().collect();
            let text =
                if keys.is_empty() { String::new() } else { format!("DELETE {}", place(&bucket, &keys)) };
            (text, 0)
        }
        KeyAsk::List { after, keys_max } => {
            let after =
                after.as_ref().map(|after| format!(" AND key > {}", bytes(after))).unwrap_or_default();
            let text = format!(
                "SELECT encode(key, 'hex'), NULL::text FROM keylane.keyvalue WHERE bucket = {bucket}{after} \
                 ORDER BY key LIMIT {keys_max}"
            );
            (text, 0)
        }
    }
}

/// The values from a place, if they are not too much. Those that are held nobody else sets or deletes.
fn get(place: &str, is_held: bool, bytes_max: usize) -> String {
    // No row is locked beside a sum over others.
    let held = || format!("FROM (SELECT key, value {place} ORDER BY key FOR UPDATE) AS held");
    let from = if is_held { held() } else { place.to_owned() };
    format!(
        "SELECT encode(key, 'hex'), CASE WHEN sum(octet_length(value)) OVER (ORDER BY key) <= {bytes_max} \
         THEN encode(value, 'hex') END {from} ORDER BY key"
    )
}

/// Where the values of these keys are.
fn place(bucket: &str, keys: &[Vec<u8>]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| bytes(key)).collect();
    format!("FROM keylane.keyvalue WHERE bucket = {bucket} AND key IN ({})", keys.join(", "))
}

/// Sets values, if there are any; `otherwise` says what becomes of those that are there.
fn insert(bucket: &str, pairs: &[&(Vec<u8>, Vec<u8>)], otherwise: &str) -> Option<String> {
    let row = |(key, value): &&(Vec<u8>, Vec<u8>)| format!("({bucket}, {}, {})", bytes(key), bytes(value));
    let rows: Vec<_> = pairs.iter().map(row).collect();
    let rows = (!rows.is_empty()).then(|| rows.join(", "))?;
    Some(format!("INSERT INTO keylane.keyvalue (bucket, key, value) VALUES {rows}{otherwise}"))
}

/// One lock for each key, in the same order by everybody.
fn locks(bucket: &str, keys: &[Vec<u8>]) -> Vec<String> {
    let mut keys: Vec<_> = keys.iter().map(|key| hexadecimal(key)).collect();
    keys.sort();
    keys.dedup();
    let bucket = hexadecimal(bucket.as_bytes());
    let lock =
        |key: &String| format!("SELECT pg_advisory_xact_lock({LOCK_CLASS}, hashtext('{bucket}/{key}')); ");
    keys.iter().map(lock).collect()
}

/// Bytes as an expression.
fn bytes(bytes: &[u8]) -> String {
    format!("decode('{}', 'hex')", hexadecimal(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn key_row(row: &PgRow, bytes_max: Option<usize>) -> Result<KeyRow, Failure> {
    let (key, value): (String, Option<String>) = (row.try_get(0)?, row.try_get(1)?);
    let value = match (value, bytes_max) {
        (None, Some(bytes_max)) => return Err(refused(too_much(bytes_max))),
        (None, None) => None,
        (Some(value), _) => Some(from_hexadecimal(&value)?),
    };
    Ok(KeyRow { key: from_hexadecimal(&key)?, value })
}

fn refused(error: StatementError) -> Failure {
    Failure::Unfit(error)
}

fn from_hexadecimal(text: &str) -> Result<Vec<u8>, Failure> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| {
        refused(StatementError::Refused("the server answered no hexadecimal digits".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_and_come_back_as_digits_alone() {
        let all: Vec<u8> = (0..=255).collect();
        let digits = hexadecimal(&all);
        assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(matches!(from_hexadecimal(&digits), Ok(back) if back == all));
        assert!(from_hexadecimal("0").is_err() && from_hexadecimal("0g").is_err());
    }

    #[test]
    fn no_name_ends_a_literal() {
        let hostile = "a'); DROP TABLE keylane.claim; --".to_owned();
        let key = hostile.clone().into_bytes();
        for ask in [
            KeyAsk::Get { keys: vec![key.clone()], for_change: true, bytes_max: 1 },
            KeyAsk::Put(vec![(key.clone(), key.clone())]),
            KeyAsk::Delete(vec![key.clone()]),
            KeyAsk::List { after: Some(key), keys_max: 1 },
        ] {
            let request = KeyRequest { bucket: hostile.clone(), ask };
            for isolation in [Isolation::Serializable, Isolation::ReadCommitted] {
                let (text, _) = text(&request, isolation, &Missing::default());
                assert!(!text.contains("DROP") && !text.contains("--"), "{text}");
            }
        }
    }
}
