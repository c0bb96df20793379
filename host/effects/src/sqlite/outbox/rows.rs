//! The rows of the outbox, inside a transaction of the relay's or of a command.

use sqlx::sqlite::SqliteRow;

use super::{later_us, now_us};
use crate::database::{OutboxKind, OutboxRow};
use crate::error::DatabaseError;
use crate::relay::{
    ASIDE_MAX, Advance, DUE_ROWS_MAX, ERROR_CHARS_MAX, FINAL_WAIT_MAX, MailEnded, RELEASE_ROWS_MAX, Refused,
    StoredRow, fitting, places,
};
use crate::sqlite::connection::host;
use crate::sqlite::file::File;
use crate::sqlite::tables::get;
use crate::sqlite::writing::Writing;

/// The oldest records that may be sent, of topics that are not paused, and which of them stand behind one that
/// waits. Topic by topic: rows of a paused one are not even looked at, however many there are.
pub(super) const READY: &str = concat!(
    topics!(),
    " SELECT id, coalesce(length(key), 0) + coalesce(length(value), 0) + length(headers), \
    key IS NOT NULL AND EXISTS (SELECT 1 FROM keylane_outbox AS before WHERE before.parked > 0 \
    AND before.topic = waiting.topic AND before.key = waiting.key AND before.kind = 1 \
    AND before.id < waiting.id) FROM topics JOIN keylane_outbox AS waiting ON waiting.id IN \
    (SELECT id FROM keylane_outbox AS one WHERE one.kind = 1 AND one.parked <= 0 AND one.topic = topics.topic \
    ORDER BY id LIMIT $2) WHERE topics.topic NOT IN (SELECT value FROM json_each($1)) ORDER BY id LIMIT $2"
);

/// Deletes rows; what stood behind them is let go. Answers how many.
pub(super) async fn delete(writing: &mut Writing, file: &File, ids: &[i64]) -> Result<u64, DatabaseError> {
    if ids.is_empty() {
        return Ok(0);
    }
    let text = "DELETE FROM keylane_outbox WHERE id IN (SELECT value FROM json_each($1)) \
                RETURNING kind = 1 AND key IS NOT NULL AND parked IN (-1, 1), topic, key";
    let gone = writing.fetch(host(text).bind(list(ids))).await?;
    for row in &gone {
        if get(row, 0, &file.url)? {
            let_go_behind(writing, file, get(row, 1, &file.url)?, get(row, 2, &file.url)?).await?;
        }
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

/// Lets the next rows of a key go. The last of a full lot leads the ones after it.
async fn let_go_behind(
    writing: &mut Writing,
    file: &File,
    topic: String,
    key: Vec<u8>,
) -> Result<(), DatabaseError> {
    let text = "UPDATE keylane_outbox SET parked = 0 WHERE id IN (SELECT id FROM keylane_outbox \
                WHERE parked > 0 AND parked = 2 AND kind = 1 AND topic = $1 AND key = $2 ORDER BY id LIMIT $3) \
                RETURNING id";
    let freed = writing.fetch(host(text).bind(topic).bind(key).bind(RELEASE_ROWS_MAX)).await?;
    if i64::try_from(freed.len()).unwrap_or(i64::MAX) < RELEASE_ROWS_MAX {
        return Ok(());
    }
    let ids = freed.iter().map(|row| get(row, 0, &file.url)).collect::<Result<Vec<i64>, _>>()?;
    let last = ids.into_iter().max();
    writing.run(host("UPDATE keylane_outbox SET parked = -1 WHERE id = $1").bind(last)).await?;
    Ok(())
}

/// Which of these mails are still what is under their numbers.
pub(super) async fn same_mails(
    writing: &mut Writing,
    file: &File,
    ended: &[MailEnded],
) -> Result<Vec<i64>, DatabaseError> {
    let mut found = Vec::new();
    for mail in ended {
        let text = "SELECT id FROM keylane_outbox WHERE id = $1 AND kind = 2 AND coalesce(key, x'') = $2";
        for row in writing.fetch(host(text).bind(mail.id).bind(mail.message_id.clone())).await? {
            found.push(get(&row, 0, &file.url)?);
        }
    }
    Ok(found)
}

/// Notes refusals.
pub(super) async fn refuse(writing: &mut Writing, refused: &[Refused]) -> Result<(), DatabaseError> {
    for Refused { id, reason, wait } in refused {
        let text = "UPDATE keylane_outbox SET attempts = attempts + 1, last_error = $2, \
                    parked = CASE WHEN $3 IS NULL THEN parked ELSE 1 END, \
                    not_before_us = coalesce($3, not_before_us) WHERE id = $1";
        let reason: String = reason.chars().take(ERROR_CHARS_MAX).collect();
        writing.run(host(text).bind(*id).bind(reason).bind(wait.map(later_us))).await?;
    }
    Ok(())
}

/// Lets records go whose time has come.
async fn let_go_due(writing: &mut Writing) -> Result<(), DatabaseError> {
    let text = "UPDATE keylane_outbox SET parked = -1 WHERE id IN (SELECT id FROM (SELECT id FROM keylane_outbox \
                WHERE parked = 1 AND not_before_us <= $1 AND kind = 1 ORDER BY not_before_us LIMIT $2) \
                UNION ALL SELECT id FROM (SELECT id FROM keylane_outbox \
                WHERE parked = 1 AND not_before_us > $3 AND kind = 1 LIMIT $2))";
    let letting_go = host(text).bind(now_us()).bind(DUE_ROWS_MAX).bind(later_us(FINAL_WAIT_MAX));
    writing.run(letting_go).await?;
    Ok(())
}

/// The next mails to send. Those that were refused before keep their mark while they are tried. Who waits for a clock
/// that was set back is the first of them, and waits no longer than others after that.
pub(super) async fn pick_mails(
    writing: &mut Writing,
    file: &File,
    most: usize,
) -> Result<Vec<i64>, DatabaseError> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let fresh = "SELECT id FROM keylane_outbox WHERE kind = 2 AND parked <= 0 ORDER BY id LIMIT $1";
    let astray =
        "SELECT id FROM keylane_outbox WHERE parked = 1 AND not_before_us > $2 AND kind = 2 LIMIT $1";
    let due = "SELECT id FROM keylane_outbox WHERE parked = 1 AND not_before_us <= $2 AND kind = 2 \
               ORDER BY not_before_us LIMIT $1";
    let mut found = Vec::with_capacity(3);
    for asked in [
        host(fresh).bind(limit),
        host(astray).bind(limit).bind(later_us(FINAL_WAIT_MAX)),
        host(due).bind(limit).bind(now_us()),
    ] {
        let rows = writing.fetch(asked).await?;
        found.push(rows.iter().map(|row| get(row, 0, &file.url)).collect::<Result<Vec<i64>, _>>()?);
    }
    let again = found.split_off(1).concat();
    Ok(places(&found.concat(), &again, most))
}

/// The next rows to send, in order. Those behind one that waits are put aside.
pub(super) async fn pick(
    writing: &mut Writing,
    file: &File,
    step: &Advance,
) -> Result<Vec<i64>, DatabaseError> {
    let most = i64::try_from(step.rows).unwrap_or(i64::MAX);
    if most == 0 {
        return Ok(Vec::new());
    }
    let_go_due(writing).await?;
    let paused = serde_json::Value::from(step.paused.clone()).to_string();
    for _ in 0..ASIDE_MAX {
        let found = writing.fetch(host(READY).bind(paused.clone()).bind(most)).await?;
        let (mut free, mut behind) = (Vec::new(), Vec::new());
        for row in &found {
            let id: i64 = get(row, 0, &file.url)?;
            let bytes: i64 = get(row, 1, &file.url)?;
            match get(row, 2, &file.url)? {
                true => behind.push(id),
                false => free.push((id, usize::try_from(bytes).unwrap_or(usize::MAX))),
            }
        }
        if !behind.is_empty() {
            let aside = "UPDATE keylane_outbox SET parked = 2 WHERE id IN (SELECT value FROM json_each($1))";
            writing.run(host(aside).bind(list(&behind))).await?;
        }
        if free.is_empty() && !behind.is_empty() {
            continue;
        }
        free.truncate(fitting(free.iter().map(|(_, bytes)| *bytes), step.bytes));
        return Ok(free.into_iter().map(|(id, _)| id).collect());
    }
    Ok(Vec::new())
}

/// Rows whole, in the order of their ids.
pub(super) async fn read(
    writing: &mut Writing,
    file: &File,
    ids: &[i64],
) -> Result<Vec<StoredRow>, DatabaseError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT id, attempts, event_offset, ordinal, kind, topic, key, value, headers FROM keylane_outbox \
                WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id";
    let rows = writing.fetch(host(text).bind(list(ids))).await?;
    let stored = |row: &SqliteRow| {
        let attempts: i64 = get(row, 1, &file.url)?;
        Ok(StoredRow {
            id: get(row, 0, &file.url)?,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            row: OutboxRow {
                value: get(row, 7, &file.url)?,
                headers: get(row, 8, &file.url)?,
                ..output(row, file)?
            },
        })
    };
    rows.iter().map(stored).collect()
}

/// A row's columns from the third to the seventh: what it is, without value and headers.
pub(super) fn output(row: &SqliteRow, file: &File) -> Result<OutboxRow, DatabaseError> {
    Ok(OutboxRow {
        event_offset: get(row, 2, &file.url)?,
        ordinal: get(row, 3, &file.url)?,
        kind: if get::<i64>(row, 4, &file.url)? == 2 { OutboxKind::Mail } else { OutboxKind::Record },
        topic: get(row, 5, &file.url)?,
        key: get(row, 6, &file.url)?,
        value: None,
        headers: Vec::new(),
    })
}

/// Numbers as a JSON list: one parameter for any number of them.
pub(super) fn list(numbers: &[i64]) -> String {
    serde_json::Value::from(numbers).to_string()
}
