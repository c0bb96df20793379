//! The database that the handlers write to, and what it holds: read by connections of this program's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use keylane_test_support::{PostgreSql, waiting};
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ColumnIndex, ConnectOptions, Connection, Decode, Row, Type};
use tokio::runtime::Runtime;

/// How long a look may wait: for a server that comes back, or a stopped host's locks.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// A session that is idle in its transaction for longer belongs to a host that stands still: others are done
/// with what they do there.
const IDLE: Duration = Duration::from_millis(300);
/// The byte of SQLite's shared memory that whoever writes has locked (WAL_WRITE_LOCK in its wal.c).
const WRITER_BYTE: &str = "120";

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// The value's number.
    pub value_id: u64,
    /// The event: the partition of the input and the offset.
    pub place: (i32, i64),
    /// The event's key.
    pub key: Option<String>,
    /// The how-manieth row of its key it is; none without a key.
    pub entry: Option<i64>,
    /// The offset of the row before; -1 for the first.
    pub after: Option<i64>,
    /// What the handler tells, as in its record.
    pub told: String,
}

/// Where each key of a partition stands: its rows, and the offset of the last.
pub type Accounts = BTreeMap<(i32, String), (i64, i64)>;

/// The sums that the handlers keep.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums {
    /// Of each key.
    pub accounts: Accounts,
    /// How often the row was changed that all keys share.
    pub shared: i64,
}

/// The database.
pub struct Ledger {
    runtime: Runtime,
    place: Place,
}

enum Place {
    Sqlite(PathBuf),
    Postgres { server: Arc<PostgreSql>, url: String },
}

/// A row as texts: whatever the database is, numbers are read as what they look like.
type Texts = Vec<Option<String>>;

impl Ledger {
    /// A file in this folder; the hosts make it.
    ///
    /// # Errors
    /// When no runtime can be made.
    pub fn sqlite(folder: &Path) -> Result<Self> {
        Self::new(Place::Sqlite(folder.join("ledger.db")))
    }

    /// A server of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn postgres() -> Result<Self> {
        let server = Arc::new(PostgreSql::start()?);
        let url = server.database()?;
        Self::new(Place::Postgres { server, url })
    }

    fn new(place: Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, place })
    }

    /// Where the hosts write.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.place {
            Place::Sqlite(file) => format!("sqlite://{}", file.display()),
            Place::Postgres { url, .. } => url.clone(),
        }
    }

    /// The handlers' tables. Nothing in them keeps an event from being written twice: that is for the checker
    /// to find.
    #[must_use]
    pub fn migration(&self) -> String {
        let id = match &self.place {
            Place::Sqlite(_) => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Place::Postgres { .. } => "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        };
        format!(
            "CREATE TABLE ledger (id {id}, value_id BIGINT NOT NULL, source_partition BIGINT NOT NULL, \
             source_offset BIGINT NOT NULL, record_key TEXT, entry BIGINT, after_offset BIGINT, told TEXT NOT NULL);\n\
             CREATE TABLE account (source_partition BIGINT NOT NULL, record_key TEXT NOT NULL, \
             entries BIGINT NOT NULL, last_offset BIGINT NOT NULL, PRIMARY KEY (source_partition, record_key));\n\
             CREATE TABLE total (one BIGINT NOT NULL PRIMARY KEY, entries BIGINT NOT NULL);\n\
             INSERT INTO total (one, entries) VALUES (1, 0);\n"
        )
    }

    /// The id of the last row; 0 if there is none.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn last_id(&self) -> Result<i64> {
        self.number("SELECT CAST(COALESCE(MAX(id), 0) AS TEXT) FROM ledger")
    }

    /// The rows after this id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn rows_after(&self, id: i64) -> Result<Vec<LedgerRow>> {
        let query = format!(
            "SELECT CAST(value_id AS TEXT), CAST(source_partition AS TEXT), CAST(source_offset AS TEXT), \
             record_key, CAST(entry AS TEXT), CAST(after_offset AS TEXT), told FROM ledger WHERE id > {id} ORDER BY id"
        );
        self.look(&query)?.into_iter().map(ledger_row).collect()
    }

    /// The sums.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn sums(&self) -> Result<Sums> {
        let query = "SELECT CAST(source_partition AS TEXT), record_key, CAST(entries AS TEXT), \
                     CAST(last_offset AS TEXT) FROM account";
        let account = |row: Texts| match <[Option<String>; 4]>::try_from(row) {
            Ok([Some(partition), Some(key), Some(entries), Some(last)]) => {
                Ok(((partition.parse()?, key), (entries.parse()?, last.parse()?)))
            }
            other => bail!("no account: {other:?}"),
        };
        let accounts = self.look(query)?.into_iter().map(account).collect::<Result<_>>()?;
        Ok(Sums { accounts, shared: self.number("SELECT CAST(entries AS TEXT) FROM total")? })
    }

    /// How many rows the outbox holds: records and mails that have not left.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn unsent(&self) -> Result<i64> {
        let table = match &self.place {
            Place::Sqlite(_) => "keylane_outbox",
            Place::Postgres { .. } => "keylane.outbox",
        };
        self.number(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table}"))
    }

    /// Whether a host that stands still has a transaction open: one that holds SQLite's writer, or whose
    /// session PostgreSQL waits for.
    ///
    /// # Errors
    /// When the database does not answer.
    pub fn has_inside(&self, host: u32) -> Result<bool> {
        if let Place::Sqlite(_) = &self.place {
            let locks = std::fs::read_to_string("/proc/locks").context("/proc/locks")?;
            return Ok(locks.lines().any(|line| holds_the_writer(line, host)));
        }
        std::thread::sleep(IDLE);
        let query = format!(
            "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' \
             AND state_change < clock_timestamp() - INTERVAL '{} milliseconds'",
            IDLE.as_millis() * 9 / 10
        );
        Ok(self.number(&query)? > 0)
    }

    /// Kills the server with SIGKILL.
    ///
    /// # Errors
    /// When there is none, or the script fails.
    pub fn kill(&self) -> Result<()> {
        self.server()?.kill()
    }

    /// What starts a killed server again. It can run beside other things.
    ///
    /// # Errors
    /// When there is none.
    pub fn restart(&self) -> Result<impl FnOnce() -> Result<()> + Send + 'static> {
        let server = self.server()?.clone();
        Ok(move || server.up())
    }

    fn server(&self) -> Result<&Arc<PostgreSql>> {
        match &self.place {
            Place::Sqlite(_) => bail!("a file has no server"),
            Place::Postgres { server, .. } => Ok(server),
        }
    }

    fn number(&self, query: &str) -> Result<i64> {
        let rows = self.look(query)?;
        let number = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        number.context("no number")?.parse().with_context(|| query.to_owned())
    }

    /// Asks, again and again while there is no answer.
    fn look(&self, query: &str) -> Result<Vec<Texts>> {
        let mut last = anyhow!("not asked");
        let looked = waiting::until(query, LOOK_LIMIT, || {
            Ok(self.runtime.block_on(self.ask(query)).map_err(|error| last = error).ok())
        });
        looked.map_err(|error| error.context(last))
    }

    async fn ask(&self, query: &str) -> Result<Vec<Texts>> {
        let text = AssertSqlSafe(query.to_owned());
        match &self.place {
            Place::Sqlite(file) => {
                let options = SqliteConnectOptions::new().filename(file).create_if_missing(false);
                let mut connection = options.connect().await?;
                let rows = sqlx::query(text).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows.iter().map(texts).collect()
            }
            Place::Postgres { server, url } => {
                // The handlers' tables belong to a role of their own, which the superuser may read.
                let name = url.rsplit('/').next().unwrap_or_default();
                let options: PgConnectOptions = server.url(name).parse()?;
                let mut connection = options.connect().await?;
                let rows = sqlx::query(text).fetch_all(&mut connection).await?;
                connection.close().await?;
                rows.iter().map(texts).collect()
            }
        }
    }
}

fn texts<R: Row>(row: &R) -> Result<Texts>
where
    usize: ColumnIndex<R>,
    for<'row> String: Decode<'row, R::Database> + Type<R::Database>,
{
    (0..row.len()).map(|column| Ok(row.try_get::<Option<String>, usize>(column)?)).collect()
}

fn ledger_row(row: Texts) -> Result<LedgerRow> {
    let number = |text: Option<String>| text.map(|text| text.parse::<i64>()).transpose();
    match <[Option<String>; 7]>::try_from(row) {
        Ok([Some(value_id), Some(partition), Some(offset), key, entry, after, Some(told)]) => Ok(LedgerRow {
            value_id: value_id.parse()?,
            place: (partition.parse()?, offset.parse()?),
            key,
            entry: number(entry)?,
            after: number(after)?,
            told,
        }),
        other => bail!("no row of the ledger: {other:?}"),
    }
}

/// `1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120`. These files are the only ones of SQLite that a host has.
fn holds_the_writer(line: &str, host: u32) -> bool {
    let words: Vec<_> = line.split_whitespace().collect();
    matches!(words.as_slice(), [_, "POSIX", _, "WRITE", pid, _, WRITER_BYTE, last]
        if *pid == host.to_string() && *last == WRITER_BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_writes_is_known_by_its_lock() {
        let line = "3: POSIX  ADVISORY  WRITE 4711 fd:01:1234 120 120";
        assert!(holds_the_writer(line, 4711));
        assert!(!holds_the_writer(line, 471) && !holds_the_writer(&line.replace("WRITE", "READ "), 4711));
        assert!(!holds_the_writer(&line.replace("120 120", "124 124"), 4711));
        assert!(!holds_the_writer(&line.replace(": POSIX", ": -> POSIX"), 4711), "one that waits");
    }

    #[test]
    fn what_a_file_holds_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(folder.path()).unwrap();
        let file = folder.path().join("ledger.db");
        ledger.runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
            let mut connection = options.connect().await.unwrap();
            let more = "CREATE TABLE keylane_outbox (id); INSERT INTO keylane_outbox VALUES (1);
                INSERT INTO ledger VALUES (5, 50, 3, 7, 'a', 2, 6, 'told'), (6, 51, 3, 8, NULL, NULL, NULL, 'x');
                INSERT INTO account VALUES (3, 'a', 2, 7); UPDATE total SET entries = 4";
            let text = AssertSqlSafe(ledger.migration() + more);
            sqlx::raw_sql(text).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
        assert_eq!((ledger.last_id().unwrap(), ledger.unsent().unwrap()), (6, 1));
        let row = LedgerRow {
            value_id: 51,
            place: (3, 8),
            key: None,
            entry: None,
            after: None,
            told: "x".to_owned(),
        };
        assert_eq!(ledger.rows_after(5).unwrap(), [row]);
        assert_eq!(ledger.rows_after(4).unwrap()[0].entry, Some(2));
        let accounts = Accounts::from([((3, "a".to_owned()), (2, 7))]);
        assert_eq!(ledger.sums().unwrap(), Sums { accounts, shared: 4 });
    }
}
