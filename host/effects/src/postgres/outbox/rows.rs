//! The rows of the outbox, inside a transaction of the relay's or of a command. Keys are looked for by their
//! digest, since an index holds no key of any length.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::millis;
use crate::database::{OutboxKind, OutboxRow};
use crate::postgres::session::Session;
use crate::relay::{
    ASIDE_MAX, Advance, DUE_ROWS_MAX, ERROR_CHARS_MAX, FINAL_WAIT_MAX, MailEnded, RELEASE_ROWS_MAX, Refused,
    StoredRow, fitting, places,
};

/// The oldest records that may be sent, of topics that are not paused, and which of them stand behind one that
/// waits. Topic by topic: rows of a paused one are not even looked at, however many there are.
const READY: &str = concat!(
    topics!(),
    " SELECT id, coalesce(octet_length(key), 0)::bigint + coalesce(octet_length(value), 0) \
    + octet_length(headers), key IS NOT NULL AND EXISTS (SELECT FROM keylane.outbox AS before \
    WHERE before.parked > 0 AND before.topic = waiting.topic AND md5(before.key) = md5(waiting.key) \
    AND before.key = waiting.key AND before.kind = 1 AND before.id < waiting.id) \
    FROM (SELECT ready.* FROM topics CROSS JOIN LATERAL (SELECT id, topic, key, value, headers \
    FROM keylane.outbox WHERE kind = 1 AND parked <= 0 AND outbox.topic = topics.topic ORDER BY id LIMIT $2) \
    AS ready WHERE topics.topic <> ALL ($1) ORDER BY id LIMIT $2) AS waiting ORDER BY id"
);

/// Deletes rows; what stood behind them is let go. Answers how many.
pub(super) async fn delete(session: &mut Session, ids: &[i64]) -> Result<u64, sqlx::Error> {
    if ids.is_empty() {
        return Ok(0);
    }
    let text = "DELETE FROM keylane.outbox WHERE id = ANY ($1) \
                RETURNING kind = 1 AND key IS NOT NULL AND parked IN (-1, 1), topic, key";
    let gone = sqlx::query(text).bind(ids).fetch_all(session.connection()?).await?;
    for row in &gone {
        if row.try_get(0)? {
            let_go_behind(session, row.try_get(1)?, row.try_get(2)?).await?;
        }
    }
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}

/// Lets the next rows of a key go. The last of a full lot leads the ones after it.
async fn let_go_behind(session: &mut Session, topic: String, key: Vec<u8>) -> Result<(), sqlx::Error> {
    let text = "UPDATE keylane.outbox SET parked = 0 WHERE id IN (SELECT id FROM keylane.outbox \
                WHERE parked > 0 AND parked = 2 AND kind = 1 AND topic = $1 AND md5(key) = md5($2) AND key = $2 \
                ORDER BY id LIMIT $3) RETURNING id";
    let freed = sqlx::query_scalar(text).bind(topic).bind(key).bind(RELEASE_ROWS_MAX);
    let freed: Vec<i64> = freed.fetch_all(session.connection()?).await?;
    if i64::try_from(freed.len()).unwrap_or(i64::MAX) < RELEASE_ROWS_MAX {
        return Ok(());
    }
    let lead = sqlx::query("UPDATE keylane.outbox SET parked = -1 WHERE id = $1");
    lead.bind(freed.into_iter().max()).execute(session.connection()?).await?;
    Ok(())
}

/// Which of these mails are still what is under their numbers.
pub(super) async fn same_mails(session: &mut Session, ended: &[MailEnded]) -> Result<Vec<i64>, sqlx::Error> {
    let text = "SELECT id FROM keylane.outbox JOIN unnest($1::bigint[], $2::bytea[]) AS mail (id, message_id) \
                USING (id) WHERE kind = 2 AND coalesce(key, '') = message_id";
    let ids: Vec<i64> = ended.iter().map(|mail| mail.id).collect();
    let message_ids: Vec<&[u8]> = ended.iter().map(|mail| mail.message_id.as_slice()).collect();
    sqlx::query_scalar(text).bind(ids).bind(message_ids).fetch_all(session.connection()?).await
}

/// Notes refusals.
pub(super) async fn refuse(session: &mut Session, refused: &[Refused]) -> Result<(), sqlx::Error> {
    for Refused { id, reason, wait } in refused {
        let text = "UPDATE keylane.outbox SET attempts = attempts + 1, last_error = $2, \
            parked = CASE WHEN $3::bigint IS NULL THEN parked ELSE 1 END, \
            not_before = coalesce(clock_timestamp() + $3 * interval '1 millisecond', not_before) WHERE id = $1";
        // A text of PostgreSQL's holds no zero.
        let reason: String = reason.chars().filter(|one| *one != '\0').take(ERROR_CHARS_MAX).collect();
        let note = sqlx::query(text).bind(id).bind(reason).bind(wait.map(millis));
        note.execute(session.connection()?).await?;
    }
    Ok(())
}

/// Lets records go whose time has come.
async fn let_go_due(session: &mut Session) -> Result<(), sqlx::Error> {
    let text = "UPDATE keylane.outbox SET parked = -1 WHERE id IN ((SELECT id FROM keylane.outbox \
                WHERE parked = 1 AND not_before <= clock_timestamp() AND kind = 1 ORDER BY not_before LIMIT $1) \
                UNION ALL (SELECT id FROM keylane.outbox WHERE parked = 1 AND kind = 1 \
                AND not_before > clock_timestamp() + $2 * interval '1 millisecond' LIMIT $1))";
    let letting_go = sqlx::query(text).bind(DUE_ROWS_MAX).bind(millis(FINAL_WAIT_MAX));
    letting_go.execute(session.connection()?).await?;
    Ok(())
}

/// The next mails to send. Those that were refused before keep their mark while they are tried. Who waits for a clock
/// that was set back is the first of them, and waits no longer than others after that.
pub(super) async fn pick_mails(session: &mut Session, most: usize) -> Result<Vec<i64>, sqlx::Error> {
    let fresh = "SELECT id FROM keylane.outbox WHERE kind = 2 AND parked <= 0 ORDER BY id LIMIT $1";
    let astray = "SELECT id FROM keylane.outbox WHERE parked = 1 AND kind = 2 \
                  AND not_before > clock_timestamp() + $2 * interval '1 millisecond' LIMIT $1";
    let due = "SELECT id FROM keylane.outbox \
               WHERE parked = 1 AND not_before <= clock_timestamp() AND kind = 2 ORDER BY not_before LIMIT $1";
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let fresh: Vec<i64> = sqlx::query_scalar(fresh).bind(limit).fetch_all(session.connection()?).await?;
    let astray = sqlx::query_scalar(astray).bind(limit).bind(millis(FINAL_WAIT_MAX));
    let mut again: Vec<i64> = astray.fetch_all(session.connection()?).await?;
    again.extend(sqlx::query_scalar::<_, i64>(due).bind(limit).fetch_all(session.connection()?).await?);
    Ok(places(&fresh, &again, most))
}

/// The next rows to send, in order. Those behind one that waits are put aside.
pub(super) async fn pick(session: &mut Session, step: &Advance) -> Result<Vec<i64>, sqlx::Error> {
    let most = i64::try_from(step.rows).unwrap_or(i64::MAX);
    if most == 0 {
        return Ok(Vec::new());
    }
    let_go_due(session).await?;
    for _ in 0..ASIDE_MAX {
        let found = sqlx::query_as(READY).bind(&step.paused).bind(most);
        let found: Vec<(i64, i64, bool)> = found.fetch_all(session.connection()?).await?;
        let (mut free, mut behind) = (Vec::new(), Vec::new());
        for (id, bytes, is_behind) in found {
            match is_behind {
                true => behind.push(id),
                false => free.push((id, usize::try_from(bytes).unwrap_or(usize::MAX))),
            }
        }
        if !behind.is_empty() {
            let aside = sqlx::query("UPDATE keylane.outbox SET parked = 2 WHERE id = ANY ($1)").bind(&behind);
            aside.execute(session.connection()?).await?;
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
pub(super) async fn read(session: &mut Session, ids: &[i64]) -> Result<Vec<StoredRow>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT id, attempts, event_offset, ordinal, kind, topic, key, value, headers \
                FROM keylane.outbox WHERE id = ANY ($1) ORDER BY id";
    let rows = sqlx::query(text).bind(ids).fetch_all(session.connection()?).await?;
    let stored = |row: &PgRow| {
        let whole = OutboxRow { value: row.try_get(7)?, headers: row.try_get(8)?, ..output(row)? };
        let attempts: i32 = row.try_get(1)?;
        Ok(StoredRow {
            id: row.try_get(0)?,
            attempts: u32::try_from(attempts).unwrap_or_default(),
            row: whole,
        })
    };
    rows.iter().map(stored).collect()
}

/// A row's columns from the third to the seventh: what it is, without value and headers.
pub(super) fn output(row: &PgRow) -> Result<OutboxRow, sqlx::Error> {
    Ok(OutboxRow {
        event_offset: row.try_get(2)?,
        ordinal: row.try_get(3)?,
        kind: if row.try_get::<i16, _>(4)? == 2 { OutboxKind::Mail } else { OutboxKind::Record },
        topic: row.try_get(5)?,
        key: row.try_get(6)?,
        value: None,
        headers: Vec::new(),
    })
}
