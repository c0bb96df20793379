//! What the checks stand on: a database each, a partition, statements.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{
    Database, DatabaseConfig, EndedAs, FinishError, ResultLimits, Rows, RunTransaction, StatementFailed,
    StatementLimits, StreamKey, Value, open,
};
use keylane_engine::Fence;
use keylane_engine::TopicId;

use keylane_test_support::PostgreSql;

/// Generous: nothing here is a matter of speed.
pub const LONG: Duration = Duration::from_secs(30);

pub struct Ground<'a> {
    /// The server.
    pub server: &'a PostgreSql,
}

impl Ground<'_> {
    /// A database that the host owns without being a superuser.
    pub fn config(&self) -> DatabaseConfig {
        DatabaseConfig::new(self.server.database().unwrap())
    }

    /// A look at a database, or a change of it, by its superuser.
    pub async fn admin(&self, config: &DatabaseConfig) -> sqlx::PgPool {
        let name = config.write.rsplit_once('/').unwrap().1;
        sqlx::PgPool::connect(&self.server.url(name)).await.unwrap()
    }

    /// An open database with these tables of the handler's.
    pub async fn database(&self, tables: &str) -> Arc<dyn Database> {
        let database = open(&self.config()).await.unwrap();
        migrate(database.as_ref(), tables).await;
        database
    }
}

pub async fn migrate(database: &dyn Database, text: &str) {
    let folder = folder(&[("1_first.sql", text)]);
    database.migrate("handler", folder.path()).await.unwrap();
}

pub fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(Path::new(folder.path()).join(name), text).unwrap();
    }
    folder
}

pub fn stream() -> StreamKey {
    StreamKey {
        fleet: "fleet".to_owned(),
        handler: "handler".to_owned(),
        topic: "topic".to_owned(),
        topic_id: TopicId::new([7; 16]),
        partition: 0,
    }
}

pub async fn take(database: &dyn Database) -> Fence {
    database.take(&stream(), LONG).await.unwrap().fence
}

pub async fn begin(database: &dyn Database, fence: &Fence) -> Box<dyn RunTransaction> {
    database.begin(fence).await.unwrap()
}

/// Takes the partition and begins.
pub async fn run(database: &dyn Database) -> Box<dyn RunTransaction> {
    begin(database, &take(database).await).await
}

pub type Answer<T> = Result<(T, Box<dyn RunTransaction>), StatementFailed>;

pub async fn query(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    values: &[Value],
) -> Answer<Rows> {
    let statement = database.check(text, values, &StatementLimits::default()).unwrap();
    run.query(statement, values.to_vec(), ResultLimits { rows: 1_000, bytes: 1_000_000 }, LONG).await
}

pub async fn execute(
    database: &dyn Database,
    run: Box<dyn RunTransaction>,
    text: &str,
    values: &[Value],
) -> Answer<u64> {
    let statement = database.check(text, values, &StatementLimits::default()).unwrap();
    run.execute(statement, values.to_vec(), LONG).await
}

pub async fn finish(run: Box<dyn RunTransaction>, offsets: &[i64]) -> Result<(), FinishError> {
    let endings: Vec<_> = offsets.iter().map(|offset| (*offset, EndedAs::Done)).collect();
    run.finish(&[], &endings, LONG).await
}

/// Whether nobody is told that the run is committed, nor that it is not its database's fault.
pub fn is_in_doubt(finished: &Result<(), FinishError>) -> bool {
    match finished {
        Err(FinishError::Unknown(_)) => true,
        Err(FinishError::Database(error)) => error.can_retry(),
        _ => false,
    }
}

/// What a query outside any run answers.
pub async fn read(database: &dyn Database, text: &str) -> Rows {
    let statement = database.check(text, &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 1_000_000, bytes: 100_000_000 };
    database.query(statement, Vec::new(), limits, LONG).await.unwrap()
}
