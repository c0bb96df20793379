//! A database that is only read: a replica, or another handler's.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::Boxed;

use crate::config::DatabaseConfig;
use crate::error::{DatabaseError, StatementError};
use crate::postgres::rules::Rules;
use crate::postgres::server::Server;
use crate::postgres::{foreign, read, tables};
use crate::reading::ReadDatabase;
use crate::statement::{Statement, StatementLimits};
use crate::value::{ResultLimits, Rows, Value};

struct PostgresReading {
    rules: Rules,
    server: Arc<Server>,
}

/// Opens it. Its user is no superuser and may take the role of guests, to whom the handlers' tables belong.
pub(crate) async fn open_reading(config: &DatabaseConfig) -> Result<Arc<dyn ReadDatabase>, DatabaseError> {
    let server = Arc::new(Server::new(config)?);
    tables::may_read(&server).await?;
    let rules = Rules::new(foreign::functions(&server).await?);
    Ok(Arc::new(PostgresReading { rules, server }))
}

impl ReadDatabase for PostgresReading {
    fn check(
        &self,
        text: &str,
        parameters: &[Value],
        limits: &StatementLimits,
    ) -> Result<Statement, StatementError> {
        self.rules.check(text, parameters, limits)
    }

    fn query(
        &self,
        statement: Statement,
        parameters: Vec<Value>,
        limits: ResultLimits,
        deadline: Duration,
    ) -> Boxed<'_, Result<Rows, StatementError>> {
        Box::pin(read::query(self.server.clone(), statement, parameters, limits, deadline))
    }
}
