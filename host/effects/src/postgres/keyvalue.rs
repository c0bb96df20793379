//! Values by key on PostgreSQL. The table is the host's, so each request takes the host's role for its one
//! statement, in one message that gives it back. Keys and values stand in that message in hexadecimal digits
//! alone, which end no literal whatever a handler's function has set.

use std::fmt::Write;
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::database::RunTransaction;
use crate::error::{StatementError, StatementFailed};
use crate::keyvalue::{KeyAsk, KeyRequest, KeyRow, too_much};
use crate::postgres::closing::SETTINGS_CHANGED;
use crate::postgres::faults;
use crate::postgres::read::{self, Failure};
use crate::postgres::run::Run;

/// Only a session that is still the guest's goes on: otherwise the way back would hide that a handler's
/// function took the host's role. It divides by zero.
const ENTER: &str = "SELECT 1 OPERATOR(pg_catalog./) \
    (pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'keylane_guest')::pg_catalog.int4; \
    SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL ROLE NONE; ";
const LEAVE: &str = "; SET LOCAL search_path = public; SET LOCAL ROLE keylane_guest";
/// The class of the locks by which runs that change a value by what it is wait for each other. A row's own
/// lock is none where there is no row yet.
const LOCK_CLASS: i32 = 0x6b_65_79;

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
        answer => answer,
    };
    run.settle(answer, deadline).await
}

async fn answer(run: &mut Run, request: KeyRequest, deadline: Duration) -> Result<Vec<KeyRow>, Failure> {
    let (text, locks) = text(&request);
    if text.is_empty() {
        return Ok(Vec::new());
    }
    run.ready(deadline).await?;
    let times = (deadline, read::lock_waits(&run.server));
    let said = async { Ok(run.session.say(format!("{ENTER}{text}{LEAVE}")).await?) };
    let rows = read::within(&run.server.runs.watch, run.backend, times, said).await?;
    let bytes_max = match request.ask {
        KeyAsk::Get { bytes_max, .. } => Some(bytes_max),
        _ => None,
    };
    // The first row is the one of the role, then comes one for each lock.
    rows.iter().skip(1 + locks).map(|row| key_row(row, bytes_max)).collect()
}

/// The statement, and the locks that are taken before it; nothing where nothing is asked.
fn text(request: &KeyRequest) -> (String, usize) {
    let bucket = format!("convert_from({}, 'UTF8')", bytes(request.bucket.as_bytes()));
    let place = |keys: &[Vec<u8>]| {
        let keys: Vec<_> = keys.iter().map(|key| bytes(key)).collect();
        format!("FROM keylane.keyvalue WHERE bucket = {bucket} AND key IN ({})", keys.join(", "))
    };
    match &request.ask {
        KeyAsk::Get { keys, .. } if keys.is_empty() => (String::new(), 0),
        KeyAsk::Get { keys, for_change, bytes_max } => {
            let locks = if *for_change { locks(&request.bucket, keys) } else { Vec::new() };
            let text = format!(
                "{}SELECT encode(key, 'hex'), CASE WHEN sum(octet_length(value)) OVER (ORDER BY key) <= {bytes_max} \
                 THEN encode(value, 'hex') END {} ORDER BY key",
                locks.concat(),
                place(keys)
            );
            (text, locks.len())
        }
        KeyAsk::Put(pairs) if pairs.is_empty() => (String::new(), 0),
        KeyAsk::Put(pairs) => {
            let row =
                |(key, value): &(Vec<u8>, Vec<u8>)| format!("({bucket}, {}, {})", bytes(key), bytes(value));
            let rows: Vec<_> = pairs.iter().map(row).collect();
            let text = format!(
                "INSERT INTO keylane.keyvalue (bucket, key, value) VALUES {} \
                 ON CONFLICT (bucket, key) DO UPDATE SET value = excluded.value",
                rows.join(", ")
            );
            (text, 0)
        }
        KeyAsk::Delete(keys) if keys.is_empty() => (String::new(), 0),
        KeyAsk::Delete(keys) => (format!("DELETE {}", place(keys)), 0),
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
            let (text, _) = text(&KeyRequest { bucket: hostile.clone(), ask });
            assert!(!text.contains("DROP") && !text.contains("--"), "{text}");
        }
    }
}
