//! The host's own tables in a SQLite file: made once, by whichever host comes first, with the database's
//! identity and the machine that it lives on.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::config::DatabaseConfig;
use crate::database::Identity;
use crate::error::{DatabaseError, same_cluster};
use crate::sqlite::authorizer::Mode;
use crate::sqlite::connection::host;
use crate::sqlite::file::File;
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
    cluster TEXT
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
    floor INTEGER NOT NULL
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
CREATE INDEX IF NOT EXISTS keylane_outbox_ready ON keylane_outbox (kind, id) WHERE parked <= 0;
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
    sent INTEGER NOT NULL DEFAULT 0,
    highest INTEGER NOT NULL DEFAULT 0,
    batch TEXT NOT NULL DEFAULT '[]'
) STRICT;
INSERT INTO keylane_relay (one) VALUES (1) ON CONFLICT DO NOTHING;
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
    let made = writing.connection()?.script(Mode::Host, TABLES, MAKE).await;
    made.map_err(|fault| fault.host(&file.url))?;
    let machine = machine(config);
    let insert = "INSERT INTO keylane_meta VALUES (1, $1, lower(hex(randomblob(16))), $2, NULL) ON CONFLICT DO NOTHING";
    writing.run(host(insert).bind(VERSION).bind(machine.clone())).await?;
    let rows = writing.fetch(host("SELECT version, database_id, machine FROM keylane_meta")).await?;
    let row = only(&rows, &file.url)?;
    let version: i64 = get(row, 0, &file.url)?;
    if version != VERSION {
        let reason =
            format!("they are of version {version}, this host needs {VERSION}; use the same version");
        return Err(DatabaseError::Tables { url: file.url.to_string(), reason });
    }
    if get::<String>(row, 2, &file.url)? != machine {
        writing.rollback().await;
        return Err(DatabaseError::OtherMachine { url: file.url.to_string() });
    }
    let identity = Identity { database: get(row, 1, &file.url)?, driver: "sqlite" };
    writing.commit().await?;
    // Set before only by an earlier call, to the same.
    let _ = file.database.set(identity.database.clone());
    Ok(identity)
}

/// Writes this machine's name over the former one's.
pub(crate) async fn adopt(file: &File, config: &DatabaseConfig) -> Result<(), DatabaseError> {
    let mut writing = Writing::begin(file, file.writer_wait, file.lock_wait).await?;
    let changed = writing.run(host("UPDATE keylane_meta SET machine = $1").bind(machine(config))).await?;
    if changed == 0 {
        let reason = "there are none: no host has used this file".to_owned();
        return Err(DatabaseError::Tables { url: file.url.to_string(), reason });
    }
    writing.commit().await
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

/// What this machine is called: a digest, because systemd wants its machine id kept from strangers.
pub(crate) fn machine(config: &DatabaseConfig) -> String {
    const PLACES: &[&str] = &["/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostname"];
    let read = |place: &&str| std::fs::read_to_string(place).ok();
    let known = |name: &String| !name.trim().is_empty();
    let name = config.machine.clone().or_else(|| PLACES.iter().filter_map(read).find(known));
    let digest = Sha256::digest(format!("keylane {}", name.unwrap_or_default().trim()));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
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
