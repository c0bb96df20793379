//! Whose a handler's progress is: one fleet's. A fleet that was renamed would begin anew under its new name, and
//! do everything again.

use crate::database::StreamKey;
use crate::error::DatabaseError;
use crate::sqlite::connection::host;
use crate::sqlite::file::File;
use crate::sqlite::tables::get;
use crate::sqlite::writing::Writing;

/// Refuses progress of this handler in this topic that is another fleet's.
pub(crate) async fn check(writing: &mut Writing, file: &File, key: &StreamKey) -> Result<(), DatabaseError> {
    let text = "SELECT fleet FROM keylane_stream JOIN keylane_floor ON stream = id \
                WHERE fleet <> $1 AND handler = $2 AND topic_id = $3 LIMIT 1";
    let others = host(text).bind(key.fleet.clone()).bind(key.handler.clone());
    let others = writing.fetch(others.bind(key.topic_id.bytes().to_vec())).await?;
    let Some(row) = others.first() else { return Ok(()) };
    Err(DatabaseError::OtherFleet {
        url: file.url.to_string(),
        stands: get(row, 0, &file.url)?,
        asked: key.fleet.clone(),
    })
}

/// Makes all progress of this handler, and the outbox, this fleet's. Numbers that were given under other names, before
/// those were refused, have no progress; they are taken back, or two of them would come to have one name.
pub(crate) async fn adopt(file: &File, handler: &str, fleet: &str) -> Result<(), DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    let unused = "SELECT id FROM keylane_stream WHERE handler = $1 \
                  AND id NOT IN (SELECT stream FROM keylane_floor)";
    let unused = writing.fetch(host(unused).bind(handler.to_owned())).await?;
    for row in &unused {
        let id: i64 = get(row, 0, &file.url)?;
        writing.run(host("DELETE FROM keylane_fence WHERE stream = $1").bind(id)).await?;
        writing.run(host("DELETE FROM keylane_stream WHERE id = $1").bind(id)).await?;
    }
    let rename = "UPDATE keylane_stream SET fleet = $2 WHERE handler = $1 AND fleet <> $2";
    writing.run(host(rename).bind(handler.to_owned()).bind(fleet.to_owned())).await?;
    let relay = "UPDATE keylane_relay SET fleet = $1, until_us = 0, epoch_count = epoch_count + 1, \
                 epoch_nonce = random() WHERE fleet <> $1";
    writing.run(host(relay).bind(fleet.to_owned())).await?;
    writing.commit().await
}
