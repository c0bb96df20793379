//! Runs a handler's migrations, all that are pending in one transaction: it holds the writer, so that
//! several hosts run each file once, and a file that fails leaves nothing half done.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::error::DatabaseError;
use crate::migrations::Folder;
use crate::sqlite::authorizer::Mode;
use crate::sqlite::connection::host;
use crate::sqlite::fault::Fault;
use crate::sqlite::file::File;
use crate::sqlite::tables::get;
use crate::sqlite::writing::Writing;

/// How long one file may run.
const FILE: Duration = Duration::from_secs(600);

/// Runs what has not run yet.
pub(crate) async fn migrate(file: &File, handler: &str, path: &Path) -> Result<(), DatabaseError> {
    let folder = Folder::read(path, &file.url).await?;
    // Another host's migrations may be what the writer is held for.
    let mut writing = Writing::begin(file, FILE, FILE).await?;
    let ran = ran(&mut writing, file, handler).await?;
    let ours = ours(&mut writing, file).await?;
    for one in folder.pending(&ran)? {
        let done = writing.connection()?.script(Mode::Migration, &one.text, FILE).await;
        done.map_err(|fault| match fault {
            Fault::Busy(_) | Fault::Unable(_) | Fault::Gone(_) | Fault::Stuck(_) => fault.host(&file.url),
            own => folder.fault(Some(one), &own.guest().to_string()),
        })?;
        if !writing.connection()?.in_transaction().await.map_err(|fault| fault.host(&file.url))? {
            return Err(folder.fault(Some(one), "it ended the transaction that it runs in"));
        }
        if self::ours(&mut writing, file).await? != ours {
            return Err(folder.fault(Some(one), "it leaves something that is named as the host's tables are"));
        }
        if let Some(table) = leaning(&mut writing, file).await? {
            let said = format!("the table {table:?} has a foreign key to one of the host's tables");
            return Err(folder.fault(Some(one), &said));
        }
        let insert = "INSERT INTO keylane_migration VALUES ($1, $2, $3)";
        let query = host(insert).bind(handler.to_owned()).bind(one.version).bind(one.checksum.clone());
        writing.run(query).await?;
    }
    writing.commit().await
}

async fn ran(
    writing: &mut Writing,
    file: &File,
    handler: &str,
) -> Result<BTreeMap<i64, Vec<u8>>, DatabaseError> {
    let text = "SELECT version, checksum FROM keylane_migration WHERE handler = $1";
    let rows = writing.fetch(host(text).bind(handler.to_owned())).await?;
    rows.iter().map(|row| Ok((get(row, 0, &file.url)?, get(row, 1, &file.url)?))).collect()
}

/// All that is named as the host's tables are. A file can rename a table of its own to such a name, and set the
/// counter of the outbox's keys, without the allow list being asked.
async fn ours(writing: &mut Writing, file: &File) -> Result<Vec<String>, DatabaseError> {
    let text = "SELECT concat_ws(' ', type, name, tbl_name, sql) FROM sqlite_schema \
                WHERE name LIKE 'keylane\\_%' ESCAPE '\\' OR tbl_name LIKE 'keylane\\_%' ESCAPE '\\' UNION ALL \
                SELECT concat_ws(' ', name, seq) FROM sqlite_sequence WHERE name LIKE 'keylane\\_%' ESCAPE '\\' \
                ORDER BY 1";
    let rows = writing.fetch(host(text)).await?;
    rows.iter().map(|row| get(row, 0, &file.url)).collect()
}

/// A handler's table with a foreign key to one of the host's: it could keep the host from changing that.
async fn leaning(writing: &mut Writing, file: &File) -> Result<Option<String>, DatabaseError> {
    let text = "SELECT child.name FROM sqlite_schema AS child, pragma_foreign_key_list(child.name) AS key \
                WHERE child.type = 'table' AND child.name NOT LIKE 'keylane\\_%' ESCAPE '\\' \
                AND key.\"table\" LIKE 'keylane\\_%' ESCAPE '\\' LIMIT 1";
    let rows = writing.fetch(host(text)).await?;
    rows.first().map(|row| get(row, 0, &file.url)).transpose()
}
