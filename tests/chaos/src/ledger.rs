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

use crate::fleet::INPUT;

/// How long a look may wait: for a server that comes back, or a stopped host's locks.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long a look may take that is only for the report.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A session that is idle in its transaction for longer belongs to a host that stands still: others are done
/// with what they do there.
const IDLE: Duration = Duration::from_millis(300);
/// How long commits wait, done and unanswered, before the server dies: long enough for one of each run.
const UNANSWERED: Duration = Duration::from_millis(200);
/// A standby that never comes: a commit is on the disk, and its answer waits for that one's word.
const STANDBY: &str = "synchronous_standby_names";
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
    /// to find. A second row of `single` is refused; in SQLite that ends the whole transaction.
    #[must_use]
    pub fn migration(&self) -> String {
        let (id, conflict) = match &self.place {
            Place::Sqlite(_) => ("INTEGER PRIMARY KEY AUTOINCREMENT", " ON CONFLICT ROLLBACK"),
            Place::Postgres { .. } => ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", ""),
        };
        format!(
            "CREATE TABLE ledger (id {id}, value_id BIGINT NOT NULL, source_partition BIGINT NOT NULL, \
             source_offset BIGINT NOT NULL, record_key TEXT, entry BIGINT, after_offset BIGINT, told TEXT NOT NULL);\n\
             CREATE TABLE account (source_partition BIGINT NOT NULL, record_key TEXT NOT NULL, \
             entries BIGINT NOT NULL, last_offset BIGINT NOT NULL, PRIMARY KEY (source_partition, record_key));\n\
             CREATE TABLE total (one BIGINT NOT NULL PRIMARY KEY, entries BIGINT NOT NULL);\n\
             INSERT INTO total (one, entries) VALUES (1, 0);\n\
             CREATE TABLE single (one BIGINT NOT NULL UNIQUE{conflict});\n\
             INSERT INTO single (one) VALUES (1);\n"
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

    /// Where the floor of each partition of the input is: below it, claims are pruned. Asked once.
    ///
    /// # Errors
    /// When the database does not answer at once.
    pub fn floors(&self) -> Result<BTreeMap<i32, i64>> {
        let prefix = match &self.place {
            Place::Sqlite(_) => "keylane_",
            Place::Postgres { .. } => "keylane.",
        };
        let query = format!(
            "SELECT CAST(s.partition AS TEXT), CAST(f.floor AS TEXT) FROM {prefix}stream s \
             JOIN {prefix}floor f ON f.stream = s.id WHERE s.topic = '{INPUT}'"
        );
        let floor = |row: Texts| match <[Option<String>; 2]>::try_from(row) {
            Ok([Some(partition), Some(floor)]) => Ok((partition.parse()?, floor.parse()?)),
            other => bail!("no floor: {other:?}"),
        };
        self.look_once(&query)?.into_iter().map(floor).collect()
    }

    /// Whether a host that stands still has a transaction open: one that holds SQLite's writer, or whose
    /// session PostgreSQL waits for. Asked once.
    ///
    /// # Errors
    /// When the database does not answer at once.
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
        Ok(number(self.look_once(&query)?, &query)? > 0)
    }

    /// Whether there is one writer for all hosts: whoever stands still with it keeps the others from writing.
    #[must_use]
    pub fn has_one_writer(&self) -> bool {
        matches!(self.place, Place::Sqlite(_))
    }

    /// Kills the server with SIGKILL.
    ///
    /// # Errors
    /// When there is none, or the script fails.
    pub fn kill(&self) -> Result<()> {
        self.server()?.kill()
    }

    /// Kills all processes of the server amid commits that are done and not answered.
    ///
    /// # Errors
    /// When there is none, it does not answer, or the script fails.
    pub fn crash(&self) -> Result<()> {
        let server = self.server()?;
        server.configure(&format!("ALTER SYSTEM SET {STANDBY} = 'nobody'"))?;
        std::thread::sleep(UNANSWERED);
        server.crash()
    }

    /// What starts a killed server again, which answers commits then. It can run beside other things.
    ///
    /// # Errors
    /// When there is none.
    pub fn restart(&self) -> Result<impl FnOnce() -> Result<()> + Send + 'static> {
        let server = self.server()?.clone();
        Ok(move || {
            server.up()?;
            server.configure(&format!("ALTER SYSTEM RESET {STANDBY}"))
        })
    }

    fn server(&self) -> Result<&Arc<PostgreSql>> {
        match &self.place {
            Place::Sqlite(_) => bail!("a file has no server"),
            Place::Postgres { server, .. } => Ok(server),
        }
    }

    fn number(&self, query: &str) -> Result<i64> {
        number(self.look(query)?, query)
    }

    /// Asks for what is only for the report: the player has other things to do than to wait.
    fn look_once(&self, query: &str) -> Result<Vec<Texts>> {
        let asked = async { tokio::time::timeout(AT_ONCE, self.ask(query)).await };
        self.runtime.block_on(asked)?
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

fn number(rows: Vec<Texts>, query: &str) -> Result<i64> {
    let number = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    number.context("no number")?.parse().with_context(|| query.to_owned())
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
mod tests;
