//! What the tests share: a handler over a fresh database, folder and publisher, and short forms of calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_capability::bindings::keylane::handler::sql::{Error, HostDatabase, Rows, Value};
use keylane_capability::{
    Capabilities, CapabilityLimits, EffectsError, GuestState, HostResources, Mailer, OpenDatabase, Prepared,
    RunSlot,
};
use keylane_deployment::{Document, Manifest};
use keylane_effects::{
    Database, DatabaseConfig, EndedAs, FinishError, OutboxRow, ReadDatabase, ResultLimits, StatementLimits,
    StreamKey, open, open_reading,
};
use keylane_engine::{
    Acknowledgement, Event, Header, OutgoingRecord, PublishError, Publisher, TopicId, TopicPartition,
};
use tempfile::TempDir;
use tokio::sync::watch;

/// The handler's name in all tests.
pub const HANDLER: &str = "accounting";
/// The name of its database.
pub const LEDGER: &str = "ledger";

/// The name of a database that it may only read.
pub const REPORTS: &str = "reports";
/// Longer than anything should take on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The id of the topic that the events come from.
pub const TOPIC_ID: TopicId = TopicId::new([7; 16]);
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
        [grants.sql.{REPORTS}]
        access = "read"
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
    opened: tokio::sync::OnceCell<Arc<dyn Database>>,
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
            opened: tokio::sync::OnceCell::new(),
            published: Arc::default(),
            limits: CapabilityLimits::default(),
            mailer: Some(Arc::new(mailer)),
        }
    }

    /// The handler's database, opened once.
    pub async fn open(&self) -> Arc<dyn Database> {
        self.opened.get_or_init(async || open(&self.database).await.unwrap()).await.clone()
    }

    /// The same, to be read only. It is made before.
    pub async fn open_reading(&self) -> Arc<dyn ReadDatabase> {
        self.open().await;
        open_reading(&self.database).await.unwrap()
    }

    /// What a host with these surroundings has, with the handler's database as both of its grants.
    pub async fn resources(&self) -> HostResources {
        let database = self.open().await;
        let own = BTreeMap::from([
            (LEDGER.to_owned(), OpenDatabase::Write(database)),
            (REPORTS.to_owned(), OpenDatabase::Read(self.open_reading().await)),
        ]);
        HostResources {
            databases: BTreeMap::from([(HANDLER.to_owned(), own)]),
            publisher: self.published.clone(),
            mailer: self.mailer.clone(),
            config: BTreeMap::new(),
            limits: self.limits,
        }
    }

    /// The capabilities of a host that has not opened any database.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::new(HostResources {
            databases: BTreeMap::new(),
            publisher: self.published.clone(),
            mailer: self.mailer.clone(),
            config: BTreeMap::new(),
            limits: self.limits,
        })
    }

    /// The handler, ready to run.
    pub async fn prepared(&self) -> Prepared {
        let capabilities = Capabilities::new(self.resources().await);
        capabilities.prepare(&self.manifest, self.dir.path()).await.unwrap()
    }

    /// What a query answers that is no run's.
    pub async fn read(&self, sql: &str) -> Vec<Vec<keylane_effects::Value>> {
        let database = self.open().await;
        let statement = database.check(sql, &[], &StatementLimits::default()).unwrap();
        let limits = ResultLimits { rows: 1_000, bytes: 1_000_000 };
        database.query(statement, Vec::new(), limits, LONG).await.unwrap().rows
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

/// A run's transaction on the handler's database, begun by a new owner of its partition.
pub async fn run_of(prepared: &Prepared) -> Arc<RunSlot> {
    let database = prepared.write_database().unwrap();
    let stream = StreamKey {
        fleet: "fleet".to_owned(),
        handler: HANDLER.to_owned(),
        topic: "tasks".to_owned(),
        topic_id: TOPIC_ID,
        partition: 7,
    };
    let fence = database.take(&stream, LONG).await.unwrap().fence;
    RunSlot::new(database.begin(&fence).await.unwrap(), fence.replay)
}

/// An instance at the event of this offset, in a run of its own.
pub async fn at_event(prepared: &Prepared, offset: i64) -> (GuestState, Arc<RunSlot>) {
    let run = run_of(prepared).await;
    let mut state = prepared.state();
    state.begin(&event(offset), TOPIC_ID, Some(&run));
    (state, run)
}

/// Commits a run of one event.
pub async fn commit(run: &RunSlot, offset: i64, rows: &[OutboxRow]) -> Result<(), FinishError> {
    run.take().unwrap().finish(rows, &[(offset, EndedAs::Done)], LONG).await
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
    query_on(state, LEDGER, sql, parameters).await
}

/// The same on the database of this name.
pub async fn query_on(
    state: &mut GuestState,
    name: &str,
    sql: &str,
    parameters: &[Value],
) -> Result<Rows, Error> {
    let database = HostDatabase::open(state, name.to_owned()).await.unwrap()?;
    let borrowed = wasmtime::component::Resource::new_borrow(database.rep());
    let rows = HostDatabase::query(state, borrowed, sql.to_owned(), parameters.to_vec()).await.unwrap();
    HostDatabase::drop(state, database).await.unwrap();
    rows
}

/// Runs a statement as a guest does.
pub async fn execute(state: &mut GuestState, sql: &str, parameters: &[Value]) -> Result<u64, Error> {
    execute_on(state, LEDGER, sql, parameters).await
}

/// The same on the database of this name.
pub async fn execute_on(
    state: &mut GuestState,
    name: &str,
    sql: &str,
    parameters: &[Value],
) -> Result<u64, Error> {
    let database = HostDatabase::open(state, name.to_owned()).await.unwrap()?;
    let borrowed = wasmtime::component::Resource::new_borrow(database.rep());
    let changed = HostDatabase::execute(state, borrowed, sql.to_owned(), parameters.to_vec()).await.unwrap();
    HostDatabase::drop(state, database).await.unwrap();
    changed
}

/// Hands over what a handler without a database holds, and awaits the delivery.
pub async fn hand_over(state: &mut GuestState) -> Result<(), EffectsError> {
    state.commit().await?.await
}

/// A text value.
pub fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The same as a database answers it.
pub fn kept(text: &str) -> keylane_effects::Value {
    keylane_effects::Value::Text(text.to_owned())
}
