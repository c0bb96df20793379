//! One connection to SQLite with its watch and its allow list, and how statements are run on it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};

use crate::sqlite::authorizer::Mode;
use crate::sqlite::fault::{Fault, explain, late};
use crate::sqlite::life::{FileId, log_of};
use crate::sqlite::watch::Watch;
use crate::sqlite::{answer, native, row};
use crate::statement::{LATE_GRACE, Statement};
use crate::value::{ResultLimits, Rows, Value};

/// How long a short statement of the host's own may take.
const HOST_STATEMENT: Duration = Duration::from_secs(30);
/// What every guest's text begins with, so that it never meets a statement that the host has prepared on
/// the same connection and that nobody would ask the allow list for again.
const GUEST: &str = "/* guest */ ";

/// The longest text, blob or row while guests' statements run, in bytes. One step of SQLite's machine is not
/// stopped at a deadline, and one step may compare two such texts at every place (`instr`, `replace`): days
/// for those of 100 MB.
pub(crate) const GUEST_LENGTH_MAX: i32 = 5 * 1024 * 1024;
/// The same for the host, whose outbox rows are as long as Kafka's records: SQLite's own bound.
const HOST_LENGTH_MAX: i32 = 1_000_000_000;

/// A statement being put together.
pub(crate) type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// A connection.
pub(crate) struct Connection {
    inner: SqliteConnection,
    watch: Arc<Watch>,
    /// Where it was opened.
    path: PathBuf,
    /// The file that it has open.
    pub file: FileId,
    /// That file's write-ahead log, once it is known.
    pub log: Option<FileId>,
    /// The length of guests' texts bounds it, not the host's.
    short: bool,
    /// A statement outlived even its grace, so that the connection's thread is still inside it, or the thread is
    /// gone: whoever asked anything more would wait for it, perhaps for ever.
    spent: Option<Fault>,
}

impl Connection {
    /// Opens one.
    pub(crate) async fn open(options: &SqliteConnectOptions) -> Result<Self, Fault> {
        let mut inner = options.connect().await.map_err(|error| explain(&error))?;
        let path = options.get_filename().to_owned();
        let (watch, file) = {
            let mut handle = inner.lock_handle().await.map_err(|error| explain(&error))?;
            // Asked in this order, the file at the path is the one that is open.
            let file = FileId::at(&path).filter(|_| !native::has_moved(&mut handle));
            let replaced = || Fault::Busy("the file was replaced while it was opened".to_owned());
            let file = file.ok_or_else(replaced)?;
            let watch = Watch::install(&mut handle);
            if !native::set_authorizer(&mut handle, &watch) {
                return Err(Fault::Gone("the authorizer could not be set".to_owned()));
            }
            (watch, file)
        };
        Ok(Self { inner, watch, log: FileId::at(&log_of(&path)), path, file, short: false, spent: None })
    }

    /// Whether another file, or none, lies where this one was opened.
    pub(crate) fn has_moved(&self) -> bool {
        FileId::at(&self.path) != Some(self.file)
    }

    /// Begins a transaction that writes with these words, and answers their rows.
    pub(crate) async fn begin(&mut self, words: Query<'_>) -> Result<Vec<SqliteRow>, Fault> {
        self.watch.begin_transaction();
        let rows = self.fetch(words).await?;
        if self.log.is_none() {
            self.log = FileId::at(&log_of(&self.path));
        }
        Ok(rows)
    }

    /// Whether the transaction was rolled back since it began. To ask SQLite itself after each statement
    /// ([`Self::in_transaction`]) would cost a turn of the connection's thread, a third of what a run costs.
    pub(crate) fn rolled_back(&self) -> bool {
        self.watch.rolled_back()
    }

    /// From now on guests' statements run.
    pub(crate) async fn for_guests(&mut self) -> Result<(), Fault> {
        self.limit(true).await
    }

    /// From now on rows of any length are the host's to write and to read.
    pub(crate) async fn for_host(&mut self) -> Result<(), Fault> {
        self.limit(false).await
    }

    async fn limit(&mut self, short: bool) -> Result<(), Fault> {
        self.answers()?;
        if self.short == short {
            return Ok(());
        }
        let mut handle = self.inner.lock_handle().await.map_err(|error| explain(&error))?;
        native::limit_length(&mut handle, if short { GUEST_LENGTH_MAX } else { HOST_LENGTH_MAX });
        self.short = short;
        Ok(())
    }

    /// Whether a transaction is open, as SQLite itself says.
    pub(crate) async fn in_transaction(&mut self) -> Result<bool, Fault> {
        self.answers()?;
        let mut handle = self.inner.lock_handle().await.map_err(|error| explain(&error))?;
        Ok(!native::autocommits(&mut handle))
    }

    /// Whether a foreign key of the open transaction is still to be made good.
    pub(crate) async fn foreign_keys_pending(&mut self) -> Result<bool, Fault> {
        self.answers()?;
        let mut handle = self.inner.lock_handle().await.map_err(|error| explain(&error))?;
        Ok(native::foreign_keys_pending(&mut handle))
    }

    fn answers(&self) -> Result<(), Fault> {
        self.spent.clone().map_or(Ok(()), Err)
    }

    /// Whether nothing more may be asked of it.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.is_some()
    }

    /// Remembers that it is of no more use.
    fn noted<T>(&mut self, answer: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault @ (Fault::Stuck(_) | Fault::Gone(_))) = &answer {
            self.spent = Some(fault.clone());
        }
        answer
    }

    /// Ends a statement whose answer was not read to its end: the thread looks for its next row, which may never
    /// come, and would work on under the deadline of whatever is asked next. Without an answer to this the
    /// connection is of no more use, whatever is said of the statement.
    async fn end_statement(&mut self, deadline: Duration) {
        self.watch.begin(Mode::Guest, Duration::ZERO);
        match tokio::time::timeout(LATE_GRACE, self.inner.ping()).await {
            Ok(Ok(())) => self.watch.begin(Mode::Guest, Duration::MAX),
            Ok(Err(error)) => self.spent = Some(explain(&error)),
            Err(_) => self.spent = Some(Fault::Stuck(deadline)),
        }
    }

    /// Stops what it does and closes it; SQLite rolls back.
    pub(crate) fn abandon(self) {
        self.watch.abandon();
    }

    /// Runs one of the host's statements without rows; answers how many rows it changed.
    pub(crate) async fn run(&mut self, query: Query<'_>) -> Result<u64, Fault> {
        self.run_within(query, HOST_STATEMENT).await
    }

    /// The same under a deadline.
    pub(crate) async fn run_within(&mut self, query: Query<'_>, deadline: Duration) -> Result<u64, Fault> {
        let watch = self.watch.clone();
        let done = within(&watch, Mode::Host, deadline, answer::changes(&mut self.inner, query)).await;
        self.noted(done)
    }

    /// Runs one of the host's queries.
    pub(crate) async fn fetch(&mut self, query: Query<'_>) -> Result<Vec<SqliteRow>, Fault> {
        self.fetch_within(query, HOST_STATEMENT).await
    }

    /// The same under a deadline.
    pub(crate) async fn fetch_within(
        &mut self,
        query: Query<'_>,
        deadline: Duration,
    ) -> Result<Vec<SqliteRow>, Fault> {
        let watch = self.watch.clone();
        let rows = within(&watch, Mode::Host, deadline, answer::all(&mut self.inner, query)).await;
        self.noted(rows)
    }

    /// Runs all statements of a text of the host's own (its tables) or of a handler's migration.
    pub(crate) async fn script(&mut self, mode: Mode, text: &str, deadline: Duration) -> Result<(), Fault> {
        let watch = self.watch.clone();
        let script = sqlx::raw_sql(AssertSqlSafe(text));
        let done = async { script.execute(&mut self.inner).await.map(drop).map_err(|error| explain(&error)) };
        let done = within(&watch, mode, deadline, done).await;
        self.noted(done)
    }

    /// Runs a guest's query.
    pub(crate) async fn guest_rows(
        &mut self,
        statement: &Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Result<Rows, Fault> {
        let watch = self.watch.clone();
        let text = format!("{GUEST}{}", statement.text);
        let collected = answer::collect(&mut self.inner, text, parameters, limits);
        let rows = within(&watch, Mode::Guest, deadline, collected).await;
        let rows = self.noted(rows);
        if let Err(Fault::Statement(_)) = &rows {
            self.end_statement(deadline).await;
        }
        rows
    }

    /// Runs a guest's statement and answers how many rows it changed.
    pub(crate) async fn guest_changes(
        &mut self,
        statement: &Statement,
        parameters: Vec<Value>,
        deadline: Duration,
    ) -> Result<u64, Fault> {
        let watch = self.watch.clone();
        let query = sqlx::query(AssertSqlSafe(format!("{GUEST}{}", statement.text)));
        let query = parameters.into_iter().fold(query, row::bind);
        let rows = within(&watch, Mode::Guest, deadline, answer::changes(&mut self.inner, query)).await;
        let rows = self.noted(rows)?;
        Ok(if statement.changes { rows } else { 0 })
    }
}

/// Runs one statement under its deadline, which stops it in the database. It is waited for a little longer, since
/// SQLite looks at the deadline between steps, but a step that waits for the disk does not.
async fn within<T>(
    watch: &Watch,
    mode: Mode,
    deadline: Duration,
    statement: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    watch.begin(mode, deadline);
    let answer = match tokio::time::timeout(deadline.saturating_add(LATE_GRACE), statement).await {
        Ok(Err(Fault::Busy(_) | Fault::Unable(_) | Fault::Gone(_))) if watch.late() => {
            Err(Fault::Statement(late(deadline)))
        }
        Ok(answer) => answer,
        Err(_) => return Err(Fault::Stuck(deadline)),
    };
    watch.begin(Mode::Guest, Duration::MAX);
    answer
}

/// A statement of the host's own.
pub(crate) fn host(text: &'static str) -> Query<'static> {
    sqlx::query(text)
}
