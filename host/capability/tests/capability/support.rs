//! What the tests share: a handler over a fresh database, folder and publisher, and short forms of calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use keylane_capability::bindings::keylane::handler::sql::{Error, HostDatabase, Rows};
use keylane_capability::{
    Capabilities, CapabilityLimits, DatabaseConfig, GuestState, HostResources, Mailer, Prepared, Value,
};
use keylane_deployment::{Document, Manifest};
use keylane_engine::{
    Acknowledgement, Event, Header, OutgoingRecord, PublishError, Publisher, TopicPartition,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// The handler's name in all tests.
pub const HANDLER: &str = "accounting";
/// The name of its database.
pub const LEDGER: &str = "ledger";

/// The trace that the events of the tests belong to.
pub const TRACE_PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A manifest that grants everything.
pub fn manifest() -> Manifest {
    let text = format!(
        r#"
        name = "{HANDLER}"
        component = "accounting.wasm"
        [subscribe]
        topics = ["tasks"]
        [grants.sql.{LEDGER}]
        access = "write"
        migrations = "migrations"
        rows-max = 100
        [grants.producer]
        topics = ["payouts"]
        records-max = 3
        [grants.mail]
        from = "payouts@exchange.example"
        mails-max = 2
        [grants.logging]
        [limits]
        host-call = "20s"
        "#
    );
    Manifest::from_document(&Document::from_text(Path::new("handler.toml"), &text)).unwrap()
}

/// A handler's surroundings in a folder of its own.
pub struct Surroundings {
    /// Holds everything; removed at the end.
    pub dir: TempDir,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its database.
    pub database: DatabaseConfig,
    /// What it published.
    pub published: Arc<Published>,
    /// The host's limits.
    pub limits: CapabilityLimits,
    /// Its way to send mail; the folder `mails` by default.
    pub mailer: Option<Arc<Mailer>>,
}

impl Surroundings {
    /// With this SQL as the one migration.
    pub fn new(migration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("migrations")).unwrap();
        std::fs::write(dir.path().join("migrations/1_first.sql"), migration).unwrap();
        let database = DatabaseConfig::sqlite(&dir.path().join("data/ledger.db"));
        let mailer = Mailer::folder(&dir.path().join("mails")).unwrap();
        Self {
            dir,
            manifest: manifest(),
            database,
            published: Arc::default(),
            limits: CapabilityLimits::default(),
            mailer: Some(Arc::new(mailer)),
        }
    }

    /// The capabilities of a host with these surroundings.
    pub fn capabilities(&self) -> Capabilities {
        let own = BTreeMap::from([(LEDGER.to_owned(), self.database.clone())]);
        Capabilities::new(HostResources {
            databases: BTreeMap::from([(HANDLER.to_owned(), own)]),
            publisher: self.published.clone(),
            mailer: self.mailer.clone(),
            limits: self.limits,
        })
    }

    /// The handler, ready to run.
    pub async fn prepared(&self) -> Prepared {
        self.capabilities().prepare(&self.manifest, self.dir.path()).await.unwrap()
    }

    /// What a query of the host answers.
    pub async fn read(&self, sql: &str) -> Vec<Vec<Value>> {
        keylane_capability::read_rows(&self.database, sql).await.unwrap()
    }

    /// The files in the folder of mails, by name.
    pub fn mails(&self) -> Vec<String> {
        names(&self.dir.path().join("mails"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An event at this offset, with a trace.
pub fn event(offset: i64) -> Arc<Event> {
    let trace = Header { name: "traceparent".to_owned(), value: Some(TRACE_PARENT.into()) };
    Arc::new(Event {
        source: TopicPartition { topic: "tasks".into(), partition: 7 },
        offset,
        timestamp: None,
        key: None,
        value: None,
        headers: vec![trace],
    })
}

/// A publisher that remembers, and acknowledges when it is let.
pub struct Published {
    records: Mutex<Vec<OutgoingRecord>>,
    gate: watch::Sender<Gate>,
}

/// How a publisher answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Takes records and acknowledges them.
    Open,
    /// Takes records and acknowledges nothing yet.
    Closed,
    /// Takes records and says that they were not delivered.
    Failing,
    /// Takes no record.
    Refusing,
}

impl Default for Published {
    fn default() -> Self {
        Self { records: Mutex::default(), gate: watch::Sender::new(Gate::Open) }
    }
}

impl Published {
    /// What has been handed over.
    pub fn records(&self) -> Vec<OutgoingRecord> {
        self.records.lock().unwrap().clone()
    }

    /// Sets how it answers from now on, waiting acknowledgements included.
    pub fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }
}

fn refusal(topic: &str) -> PublishError {
    PublishError { topic: topic.to_owned(), reason: "the broker said no".to_owned(), can_retry: false }
}

impl Publisher for Published {
    fn publish(
        &self,
        record: OutgoingRecord,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Acknowledgement, PublishError>> + Send + '_>> {
        let topic = record.topic.clone();
        if *self.gate.borrow() == Gate::Refusing {
            return Box::pin(std::future::ready(Err(refusal(&topic))));
        }
        self.records.lock().unwrap().push(record);
        let mut gate = self.gate.subscribe();
        let acknowledgement: Acknowledgement = Box::pin(async move {
            let said = *gate.wait_for(|gate| *gate != Gate::Closed).await.unwrap();
            if said == Gate::Open { Ok(()) } else { Err(refusal(&topic)) }
        });
        Box::pin(std::future::ready(Ok(acknowledgement)))
    }
}

/// Runs a query as a guest does.
pub async fn query(state: &mut GuestState, sql: &str, parameters: &[Value]) -> Result<Rows, Error> {
    let database = HostDatabase::open(state, LEDGER.to_owned()).await.unwrap()?;
    let borrowed = wasmtime::component::Resource::new_borrow(database.rep());
    let rows = HostDatabase::query(state, borrowed, sql.to_owned(), parameters.to_vec()).await.unwrap();
    HostDatabase::drop(state, database).await.unwrap();
    rows
}

/// Runs a statement as a guest does.
pub async fn execute(state: &mut GuestState, sql: &str, parameters: &[Value]) -> Result<u64, Error> {
    let database = HostDatabase::open(state, LEDGER.to_owned()).await.unwrap()?;
    let borrowed = wasmtime::component::Resource::new_borrow(database.rep());
    let changed = HostDatabase::execute(state, borrowed, sql.to_owned(), parameters.to_vec()).await.unwrap();
    HostDatabase::drop(state, database).await.unwrap();
    changed
}

/// Commits and awaits the delivery.
pub async fn finish(state: &mut GuestState) -> Result<(), keylane_capability::EffectsError> {
    state.commit().await?.await
}

/// A text value.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}
