//! The host's own tables in a SQLite file: made once, by whichever host comes first, with the database's
//! identity and the machine that it lives on.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::config::DatabaseConfig;
use crate::database::Identity;
use crate::error::{DatabaseError, same_cluster, same_version};
use crate::sqlite::authorizer::Mode;
use crate::sqlite::connection::host;
use crate::sqlite::file::File;
use crate::sqlite::machine::Machine;
use crate::sqlite::writing::Writing;

/// The version of the tables below.
const VERSION: i64 = 1;
/// How long making them may take.
const MAKE: Duration = Duration::from_secs(30);
/// The tables. Claims lie in their key's order without a row number: 146 MB for ten million.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS keylane_meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    database_id TEXT NOT NULL,
    machine TEXT NOT NULL,
    cluster TEXT,
    boot TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS keylane_stream (
    id INTEGER PRIMARY KEY,
    fleet TEXT NOT NULL,
    handler TEXT NOT NULL,
    replay INTEGER NOT NULL,
    topic TEXT NOT NULL,
    topic_id BLOB NOT NULL,
    partition INTEGER NOT NULL,
    UNIQUE (fleet, handler, replay, topic_id, partition)
) STRICT;
CREATE TABLE IF NOT EXISTS keylane_fence (
    stream INTEGER PRIMARY KEY REFERENCES keylane_stream (id),
    epoch_count INTEGER NOT NULL,
    epoch_nonce INTEGER NOT NULL,
    life TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS keylane_floor (
    stream INTEGER PRIMARY KEY REFERENCES keylane_stream (id),
    floor INTEGER NOT NULL,
    read_to INTEGER,
    leader_epoch INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS keylane_claim (
    stream INTEGER NOT NULL,
    event_offset INTEGER NOT NULL,
    ended_as INTEGER NOT NULL CHECK (ended_as IN (1, 2, 3)),
    PRIMARY KEY (stream, event_offset)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keylane_outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream INTEGER NOT NULL,
    event_offset INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    kind INTEGER NOT NULL CHECK (kind IN (1, 2)),
    topic TEXT NOT NULL,
    key BLOB,
    value BLOB,
    headers BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    parked INTEGER NOT NULL DEFAULT 0,
    not_before_us INTEGER,
    made_us INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000000 AS INTEGER))
) STRICT;
CREATE INDEX IF NOT EXISTS keylane_outbox_records ON keylane_outbox (topic, id) WHERE kind = 1 AND parked <= 0;
CREATE INDEX IF NOT EXISTS keylane_outbox_mails ON keylane_outbox (id) WHERE kind = 2 AND parked <= 0;
CREATE INDEX IF NOT EXISTS keylane_outbox_parked ON keylane_outbox (topic, key) WHERE parked > 0;
CREATE INDEX IF NOT EXISTS keylane_outbox_due ON keylane_outbox (not_before_us) WHERE parked = 1;
CREATE TABLE IF NOT EXISTS keylane_relay (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    fleet TEXT,
    host TEXT,
    until_us INTEGER NOT NULL DEFAULT 0,
    epoch_count INTEGER NOT NULL DEFAULT 0,
    epoch_nonce INTEGER NOT NULL DEFAULT 0,
    begun INTEGER NOT NULL DEFAULT 0 CHECK (begun IN (0, 1, 2)),
    numbering INTEGER NOT NULL DEFAULT 0,
    next_numbering INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    highest INTEGER NOT NULL DEFAULT 0,
    batch TEXT NOT NULL DEFAULT '[]'
) STRICT;
INSERT INTO keylane_relay (one) VALUES (1) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS keylane_keyvalue (
    bucket TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (bucket, key)
) STRICT;
CREATE TABLE IF NOT EXISTS keylane_migration (
    handler TEXT NOT NULL,
    version INTEGER NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (handler, version)
) STRICT, WITHOUT ROWID;
";

/// Makes the tables if they are missing and answers which database this is.
pub(crate) async fn make(file: &File, config: &DatabaseConfig) -> Result<Identity, DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    if let Err(error) = check_version(&mut writing, &file.url).await {
        writing.rollback().await;
        return Err(error);
    }
    let made = writing.connection()?.script(Mode::Host, TABLES, MAKE).await;
    made.map_err(|fault| fault.host(&file.url))?;
    let machine = Machine::of(config);
    let insert = "INSERT INTO keylane_meta VALUES (1, $1, lower(hex(randomblob(16))), $2, NULL, $3) \
                  ON CONFLICT DO NOTHING";
    writing.run(host(insert).bind(VERSION).bind(machine.name.clone()).bind(machine.boot.clone())).await?;
    let rows = writing.fetch(host("SELECT database_id, machine, boot FROM keylane_meta")).await?;
    let row = only(&rows, &file.url)?;
    if !machine.is(&get::<String>(row, 1, &file.url)?, get::<Option<String>>(row, 2, &file.url)?.as_deref()) {
        writing.rollback().await;
        return Err(DatabaseError::OtherMachine { url: file.url.to_string() });
    }
    let identity = Identity { database: get(row, 0, &file.url)?, driver: "sqlite" };
    here(&mut writing, machine).await?;
    writing.commit().await?;
    // Set before only by an earlier call, to the same.
    let _ = file.database.set(identity.database.clone());
    Ok(identity)
}

/// Whether the tables, where there are any, are of this version. Asked before any is made: those of another one
/// have other columns, and are to stay as they are.
async fn check_version(writing: &mut Writing, url: &str) -> Result<(), DatabaseError> {
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'keylane_meta'";
    let rows = writing.fetch(host(known)).await?;
    if get::<i64>(only(&rows, url)?, 0, url)? == 0 {
        return Ok(());
    }
    let rows = writing.fetch(host("SELECT version FROM keylane_meta")).await?;
    same_version(url, get(only(&rows, url)?, 0, url)?, VERSION)
}

/// Writes this machine's name over the former one's.
pub(crate) async fn adopt(file: &File, config: &DatabaseConfig) -> Result<(), DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    if here(&mut writing, Machine::of(config)).await? == 0 {
        let reason = "there are none: no host has used this file".to_owned();
        return Err(DatabaseError::Tables { url: file.url.to_string(), reason });
    }
    writing.commit().await
}

/// Writes down where the file lies now. Answers whether there is anything to write it in.
async fn here(writing: &mut Writing, machine: Machine) -> Result<u64, DatabaseError> {
    let update = host("UPDATE keylane_meta SET machine = $1, boot = $2");
    writing.run(update.bind(machine.name).bind(machine.boot)).await
}

/// Makes the file the one of this Kafka cluster, or says whose it is.
pub(crate) async fn bind_cluster(file: &File, cluster: &str) -> Result<(), DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    let bind = "UPDATE keylane_meta SET cluster = coalesce(cluster, $1) RETURNING cluster";
    let rows = writing.fetch(host(bind).bind(cluster.to_owned())).await?;
    let stands: String = get(only(&rows, &file.url)?, 0, &file.url)?;
    writing.commit().await?;
    same_cluster(&file.url, stands, cluster)
}

/// The one row that there must be.
pub(crate) fn only<'a>(rows: &'a [SqliteRow], url: &str) -> Result<&'a SqliteRow, DatabaseError> {
    let reason = "a row is missing".to_owned();
    rows.first().ok_or_else(|| DatabaseError::Tables { url: url.to_owned(), reason })
}

/// One value of one of the host's own rows.
pub(crate) fn get<'r, T>(row: &'r SqliteRow, at: usize, url: &str) -> Result<T, DatabaseError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    let unreadable =
        |error: sqlx::Error| DatabaseError::Tables { url: url.to_owned(), reason: error.to_string() };
    row.try_get(at).map_err(unreadable)
}
