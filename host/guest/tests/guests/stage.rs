//! A stage for one guest: its manifest, an engine sized for it, capabilities with a fake publisher and a
//! database of its own in a temporary folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use keylane_capability::{Capabilities, CapabilityLimits, DatabaseConfig, HostResources};
use keylane_deployment::{Document, Manifest, ProducerGrant, SqlGrant};
use keylane_engine::{Attempt, Event, FailureClass, Outcome, RunControl, Runner, TopicPartition};
use keylane_guest::{GuestEngine, GuestError, GuestOptions, GuestRunner, Revision};

use crate::fake_publisher::{Acks, FakePublisher};

/// What a test may set before its guest is loaded.
pub struct Stage {
    pub manifest: Manifest,
    pub options: GuestOptions,
    pub acks: Acks,
}

/// A loaded guest.
pub struct Loaded {
    pub revision: Revision,
    pub runner: GuestRunner,
    pub publisher: Arc<FakePublisher>,
    pub database: DatabaseConfig,
    _folder: tempfile::TempDir,
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
        Self { manifest, options, acks: Acks::AtOnce }
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

    /// Grants a database named `main`, with the migrations in this folder if there is one.
    pub fn with_database(self, migrations: Option<PathBuf>) -> Self {
        self.with_database_named("main", migrations)
    }

    /// The same under another name.
    pub fn with_database_named(mut self, name: &str, migrations: Option<PathBuf>) -> Self {
        self.manifest.grants.sql.insert(name.to_owned(), SqlGrant { migrations, rows_max: 10 });
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
        let database = DatabaseConfig::sqlite(&folder.path().join("main.db"));
        let granted = self.manifest.grants.sql.keys().map(|name| (name.clone(), database.clone())).collect();
        let resources = HostResources {
            databases: BTreeMap::from([(self.manifest.name.clone(), granted)]),
            publisher: publisher.clone(),
            mailer: None,
            limits: CapabilityLimits::default(),
        };
        let engine = GuestEngine::new(self.options).unwrap();
        let capabilities = Capabilities::new(resources);
        let revision = Revision::load(&engine, &self.manifest, folder.path(), &capabilities).await?;
        let runner = GuestRunner::new(&revision);
        Ok(Loaded { revision, runner, publisher, database, _folder: folder })
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
        self.runner.run(vec![attempt(0, 0, value)], RunControl::unlimited()).await.outcomes.remove(0)
    }

    /// Runs events with these values in one run, each in a lane of its own.
    pub async fn each(&self, values: &[&str]) -> Vec<Outcome> {
        self.runner.run(attempts(values), RunControl::unlimited()).await.outcomes
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
