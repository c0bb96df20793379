//! A stage for one guest: its manifest, an engine sized for it, capabilities with a fake publisher, and a
//! database of its own: in a temporary folder, or at the address of a server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use keylane_capability::{Capabilities, CapabilityLimits, HostResources, Mailer, OpenDatabase};
use keylane_deployment::{Access, Document, Isolation, MailGrant, Manifest, ProducerGrant, SqlGrant};
use keylane_effects::{
    Database, DatabaseConfig, ResultLimits, StatementLimits, StreamKey, Value, open, open_reading,
};
use keylane_engine::{
    Attempt, Event, FailureClass, Fence, Outcome, RunControl, RunReport, RunStand, Runner, TopicId,
    TopicPartition,
};
use keylane_guest::{GuestEngine, GuestError, GuestOptions, GuestRunner, Revision};

use crate::fake_publisher::{Acks, FakePublisher};
use crate::faulty::{Faults, FaultyDatabase, FaultyReading};

/// What a test may set before its guest is loaded.
pub struct Stage {
    pub manifest: Manifest,
    pub options: GuestOptions,
    pub acks: Acks,
    /// Where the database is; none is a file.
    pub address: Option<String>,
}

/// A loaded guest.
pub struct Loaded {
    pub revision: Revision,
    pub runner: GuestRunner,
    pub publisher: Arc<FakePublisher>,
    /// The database of its grants, if there are any.
    pub database: Option<Arc<dyn Database>>,
    /// What the database is to meet.
    pub faults: Arc<Faults>,
    /// The ownership of partition 3.
    pub fence: Option<Fence>,
    next_offset: AtomicU64,
    folder: tempfile::TempDir,
}

impl Stage {
    /// A stage for the guest of this folder of `tests/guests/`.
    pub fn of(guest: &str) -> Self {
        Self::of_file(component(guest))
    }

    /// A stage for whatever lies in this file.
    pub fn of_file(file: PathBuf) -> Self {
        let manifest = manifest(file);
        let options = GuestOptions::for_handlers([&manifest.limits]);
        Self { manifest, options, acks: Acks::AtOnce, address: None }
    }

    /// The guest's own time per event.
    pub fn time(mut self, time: Duration) -> Self {
        self.manifest.limits.time = time;
        self
    }

    /// Grants the topic that `echo` produces to.
    pub fn with_producer(mut self, acks: Acks) -> Self {
        self.manifest.grants.producer =
            Some(ProducerGrant { topics: vec!["echoes".into()], records_max: 10 });
        self.acks = acks;
        self
    }

    /// Grants a database named `main` to write to, with the migrations in this folder if there is one.
    pub fn with_database(self, migrations: Option<PathBuf>) -> Self {
        self.with_database_named("main", migrations)
    }

    /// The same under another name.
    pub fn with_database_named(self, name: &str, migrations: Option<PathBuf>) -> Self {
        self.with_grant(name, Access::Write, migrations)
    }

    /// Grants the same database as `reports`, to read from.
    pub fn with_reports(self) -> Self {
        self.with_grant("reports", Access::Read, None)
    }

    /// Grants mails; whatever were sent would become files beside the database.
    pub fn with_mail(mut self) -> Self {
        self.manifest.grants.mail = Some(MailGrant { from: "guest@example.org".into(), mails_max: 10 });
        self
    }

    fn with_grant(mut self, name: &str, access: Access, migrations: Option<PathBuf>) -> Self {
        let isolation = Isolation::Serializable;
        let grant = SqlGrant { access, isolation, migrations, rows_max: 10 };
        self.manifest.grants.sql.insert(name.to_owned(), grant);
        self
    }

    /// Loads the guest.
    pub async fn load(self) -> Loaded {
        self.try_load().await.unwrap()
    }

    /// Loads the guest, or says why not.
    pub async fn try_load(self) -> Result<Loaded, GuestError> {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Arc::new(FakePublisher::new(self.acks));
        let faults = Arc::<Faults>::default();
        let database = if self.manifest.grants.sql.is_empty() {
            None
        } else {
            let file = DatabaseConfig::sqlite(&folder.path().join("main.db"));
            let config = self.address.map_or(file, DatabaseConfig::new);
            let database = open(&config).await.unwrap();
            Some((database, open_reading(&config).await.unwrap()))
        };
        let granted = self.manifest.grants.sql.iter().filter_map(|(name, grant)| {
            let (inner, elsewhere) = database.clone()?;
            let open = match grant.access {
                Access::Read => {
                    OpenDatabase::Read(Arc::new(FaultyReading { inner: elsewhere, faults: faults.clone() }))
                }
                Access::Write => {
                    OpenDatabase::Write(Arc::new(FaultyDatabase { inner, faults: faults.clone() }))
                }
            };
            Some((name.clone(), open))
        });
        let resources = HostResources {
            databases: BTreeMap::from([(self.manifest.name.clone(), granted.collect())]),
            publisher: publisher.clone(),
            mailer: Some(Arc::new(Mailer::folder(folder.path()).unwrap())),
            config: BTreeMap::new(),
            limits: CapabilityLimits::default(),
        };
        let engine = GuestEngine::new(self.options).unwrap();
        let capabilities = Capabilities::new(resources);
        let fitted = Revision::fit(&engine, &self.manifest, folder.path(), &capabilities).await?;
        let revision = fitted.prepare(&engine, &self.manifest, folder.path(), &capabilities).await?;
        let runner = GuestRunner::new(&revision);
        let next_offset = AtomicU64::new(0);
        let database = database.map(|(database, _)| database);
        let mut loaded =
            Loaded { revision, runner, publisher, database, faults, fence: None, next_offset, folder };
        if loaded.revision.write_database().is_some() {
            loaded.fence = Some(loaded.own(3).await);
        }
        Ok(loaded)
    }

    /// The message of the refusal that loading must end in.
    pub async fn refusal(self) -> String {
        match self.try_load().await {
            Ok(_) => panic!("the component was accepted"),
            Err(error) => error.to_string(),
        }
    }
}

impl Loaded {
    /// Runs one event with this value, as a first attempt.
    pub async fn one(&self, value: &str) -> Outcome {
        self.each(&[value]).await.remove(0)
    }

    /// Runs events with these values in one run, each in a lane of its own, at offsets of their own.
    pub async fn each(&self, values: &[&str]) -> Vec<Outcome> {
        let count = u64::try_from(values.len()).unwrap();
        let first = self.next_offset.fetch_add(count, Ordering::Relaxed);
        let attempts = (first..).zip(values).map(|(offset, value)| attempt(offset, offset, value));
        self.run(attempts.collect()).await
    }

    /// Runs these attempts, which must leave the partition as it is.
    pub async fn run(&self, attempts: Vec<Attempt>) -> Vec<Outcome> {
        let report = self.report(attempts).await;
        assert_eq!(report.stand, RunStand::Kept);
        report.outcomes
    }

    /// Runs these attempts as the owner of their partition.
    pub async fn report(&self, attempts: Vec<Attempt>) -> RunReport {
        self.runner.run(attempts, RunControl::unlimited().under(self.fence).of_topic(TOPIC_ID)).await
    }

    /// The database, which must be granted.
    pub fn database(&self) -> &dyn Database {
        self.database.as_deref().expect("a database is granted")
    }

    /// Takes a partition, as a new owner does.
    pub async fn own(&self, partition: i32) -> Fence {
        self.database().take(&stream(partition), Duration::from_secs(60)).await.unwrap().fence
    }

    /// The offsets that are claimed in partition 3; whoever asks becomes its owner.
    pub async fn claimed(&self) -> Vec<i64> {
        self.database().take(&stream(3), Duration::from_secs(60)).await.unwrap().ended
    }

    /// What a query answers that is no run's.
    pub async fn read(&self, sql: &str) -> Vec<Vec<Value>> {
        let statement = self.database().check(sql, &[], &StatementLimits::default()).unwrap();
        let limits = ResultLimits { rows: 1_000, bytes: 1_000_000 };
        let answer = self.database().query(statement, Vec::new(), limits, Duration::from_secs(60));
        answer.await.unwrap().rows
    }

    /// The file of its database.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("main.db")
    }
}

/// The id of the guest's input.
const TOPIC_ID: TopicId = TopicId::new([7; 16]);

/// A partition of the guest's input.
fn stream(partition: i32) -> StreamKey {
    StreamKey {
        fleet: "fleet".to_owned(),
        handler: "guest".to_owned(),
        topic: "facts".to_owned(),
        topic_id: TOPIC_ID,
        partition,
    }
}

/// First attempts at events with these values, each in a lane of its own.
pub fn attempts(values: &[&str]) -> Vec<Attempt> {
    (0_u64..).zip(values).map(|(index, value)| attempt(index, index, value)).collect()
}

/// A first attempt at an event at this offset, in this lane.
pub fn attempt(offset: u64, lane: u64, value: &str) -> Attempt {
    let event = Event {
        source: TopicPartition { topic: "facts".into(), partition: 3 },
        offset: i64::try_from(offset).unwrap(),
        timestamp: None,
        key: Some(Bytes::from(format!("key {lane}"))),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Vec::new(),
    };
    Attempt { event: Arc::new(event), number: 1, lane }
}

/// The class and reason of a failed outcome.
pub fn failure(outcome: &Outcome) -> (FailureClass, &str) {
    match outcome {
        Outcome::Failed { class, reason, .. } => (*class, reason),
        Outcome::Done | Outcome::NotStarted => panic!("no failure: {outcome:?}"),
    }
}

/// The folder of a guest.
pub fn folder(guest: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/guests").join(guest)
}

/// The built component of a guest, in the target folder that this test was built in.
pub fn component(guest: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let file = format!("wasm32-wasip2/component/guest_{}.wasm", guest.replace('-', "_"));
    let path = target.join(file);
    assert!(path.is_file(), "{} is not built: run `make guests`", path.display());
    path
}

fn manifest(component: PathBuf) -> Manifest {
    assert!(Path::new(&component).is_absolute());
    let text = format!(
        r#"
        name = "guest"
        component = {component:?}
        [subscribe]
        topics = ["facts"]
        [delivery]
        attempts = 3
        backoff = "10ms"
        backoff-max = "1s"
        [limits]
        memory = "16MiB"
        table-elements = 10_000
        time = "5s"
        concurrency = 2
        "#
    );
    Manifest::from_document(&Document::from_text(Path::new("handler.toml"), &text)).unwrap()
}
