//! A file that is only read.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::Boxed;

use crate::config::DatabaseConfig;
use crate::error::{DatabaseError, StatementError};
use crate::reading::ReadDatabase;
use crate::sqlite::connection::{Connection, host};
use crate::sqlite::file::options;
use crate::sqlite::machine::Machine;
use crate::sqlite::readers::Readers;
use crate::sqlite::rules;
use crate::sqlite::tables::{get, only};
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};

struct SqliteReading(Readers);

/// Opens a file that is there, for reading. Its write-ahead log is shared memory, so whoever reads it runs on
/// the machine that writes it as well.
pub(crate) async fn open_reading(config: &DatabaseConfig) -> Result<Arc<dyn ReadDatabase>, DatabaseError> {
    let url = config.write.as_str();
    let options = options(url)?.read_only(true).busy_timeout(config.lock_wait);
    let unavailable = |reason: String| DatabaseError::Unavailable { url: url.to_owned(), reason };
    if !options.get_filename().is_file() {
        let reason = "there is no such file yet; the host of the handler that writes it makes it";
        return Err(unavailable(reason.to_owned()));
    }
    let mut connection = Connection::open(&options).await.map_err(|fault| fault.host(url))?;
    let known = "SELECT count(*) FROM sqlite_schema WHERE name = 'keylane_meta'";
    let rows = connection.fetch(host(known)).await.map_err(|fault| fault.host(url))?;
    if get::<i64>(only(&rows, url)?, 0, url)? > 0 {
        let rows = connection.fetch(host("SELECT machine, boot FROM keylane_meta")).await;
        let rows = rows.map_err(|fault| fault.host(url))?;
        let row = only(&rows, url)?;
        let boot: Option<String> = get(row, 1, url)?;
        if !Machine::of(config).is(&get::<String>(row, 0, url)?, boot.as_deref()) {
            return Err(DatabaseError::OtherMachine { url: url.to_owned() });
        }
    }
    Ok(Arc::new(SqliteReading(Readers::new(options, config.read_connections, config.writer_wait, url))))
}

impl ReadDatabase for SqliteReading {
    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        rules::check(text, parameters, limits)
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        Box::pin(self.0.query(statement, parameters, limits, deadline))
    }
}
