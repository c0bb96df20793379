//! A host at work: its handlers, from the first look at the brokers to the last commit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::Capabilities;
use keylane_engine::{HandlerEngine, HostBudget, Tally, Totals};
use keylane_guest::{GuestEngine, GuestOptions, GuestRunner, Revision};
use keylane_kafka::{Admin, Intake, KafkaConfig, KafkaDeadLetters, KafkaError, KafkaPublisher};
use tokio::runtime::Handle;

use super::board::{Board, Posted};
use super::phase::Phase;
use super::plan;
use crate::config::{Handler, HostConfig};

/// The wait after a broker answered with an error that may pass.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// A host whose handlers run.
pub(crate) struct Host {
    board: Board,
    handlers: Vec<Running>,
    drain: Duration,
}

/// One handler at work.
struct Running {
    name: String,
    intake: Intake,
    tally: Arc<Tally>,
}

/// What the handlers of a host share while they start.
struct Rooms<'a> {
    config: &'a HostConfig,
    kafka: KafkaConfig,
    admin: Admin,
    publisher: KafkaPublisher,
    capabilities: Capabilities,
    guests: GuestEngine,
    budget: Arc<HostBudget>,
}

impl Host {
    /// Starts every handler of the host file. Waits for brokers as long as it takes, so that a host and its
    /// Kafka may come up in any order; may be dropped at any time.
    ///
    /// # Errors
    /// What a person has to change: an unknown topic, a component or a database that cannot be used.
    pub(crate) async fn start(config: &HostConfig, board: Board) -> anyhow::Result<Self> {
        let rooms = Rooms::open(config)?;
        let revisions = rooms.load_revisions().await?;
        rooms.until_reachable(async || rooms.check_topics().await).await?;
        let mut handlers = Vec::new();
        for (handler, revision) in config.handlers.iter().zip(&revisions) {
            handlers.push(rooms.start_handler(handler, revision).await?);
        }
        board.put_up(handlers.iter().map(Running::posted).collect());
        tokio::spawn(board.clone().follow());
        Ok(Self { board, handlers, drain: config.limits.drain })
    }

    /// What became of each handler's events, by the handler's name.
    pub(crate) fn tallies(&self) -> Vec<(String, Totals)> {
        self.handlers.iter().map(|running| (running.name.clone(), running.tally.totals())).collect()
    }

    /// Records that no handler has ended yet, of all handlers together; none while one does not know.
    pub(crate) fn lag(&self) -> Option<u64> {
        self.handlers.iter().map(|running| running.intake.lag()).sum()
    }

    /// Drains all handlers at once, commits, and leaves their groups. Answers whether everything that ran
    /// was finished and committed.
    pub(crate) async fn stop(self) -> bool {
        self.board.life().advance(Phase::Draining);
        let drain = self.drain;
        let farewells = self.handlers.into_iter().map(async |running| {
            let farewell = running.intake.stop(drain).await;
            let well = farewell.drained && farewell.committed;
            if !well {
                let (drained, committed) = (farewell.drained, farewell.committed);
                tracing::warn!(
                    handler = running.name,
                    drained,
                    committed,
                    "not everything was finished; it will be repeated"
                );
            }
            well
        });
        let well = futures::future::join_all(farewells).await.into_iter().all(|well| well);
        self.board.life().advance(Phase::Stopped);
        well
    }
}

impl Running {
    fn posted(&self) -> Posted {
        let intake = &self.intake;
        let (health, looker, pulse) = (intake.health(), intake.looker(), intake.pulse());
        Posted { name: self.name.clone(), health, looker, pulse }
    }
}

impl<'a> Rooms<'a> {
    fn open(config: &'a HostConfig) -> anyhow::Result<Self> {
        let kafka = plan::kafka(config);
        let publisher = KafkaPublisher::new(&kafka)?;
        let resources = plan::resources(config, Arc::new(publisher.clone()))?;
        let limits = config.handlers.iter().map(|handler| &handler.manifest.limits);
        Ok(Self {
            config,
            admin: Admin::new(&kafka)?,
            kafka,
            publisher,
            capabilities: Capabilities::new(resources),
            guests: GuestEngine::new(GuestOptions::for_handlers(limits))?,
            budget: HostBudget::new(config.limits.host_bytes),
        })
    }

    /// Components first: what is wrong with them is said at once, without waiting for a broker.
    async fn load_revisions(&self) -> anyhow::Result<Vec<Revision>> {
        let mut revisions = Vec::new();
        for handler in &self.config.handlers {
            let folder = handler.file.parent().unwrap_or_else(|| Path::new(""));
            revisions
                .push(Revision::load(&self.guests, &handler.manifest, folder, &self.capabilities).await?);
        }
        Ok(revisions)
    }

    /// Asks again for as long as the brokers are away; any other answer counts.
    async fn until_reachable<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        loop {
            self.admin.wait_until_reachable().await;
            match ask().await {
                Err(error) if error.can_retry() => {
                    tracing::warn!(%error, "keylane keeps trying");
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                answer => return answer,
            }
        }
    }

    /// All topics of all handlers, so that every missing one is named at once.
    async fn check_topics(&self) -> Result<(), KafkaError> {
        let mut topics: Vec<String> = Vec::new();
        for handler in &self.config.handlers {
            let granted = handler.manifest.grants.producer.iter().flat_map(|grant| &grant.topics);
            topics.extend(handler.manifest.subscribe.topics.iter().chain(granted).cloned());
        }
        topics.sort();
        topics.dedup();
        self.admin.check_topics(&topics).await?;
        Ok(())
    }

    async fn start_handler(&self, handler: &Handler, revision: &Revision) -> anyhow::Result<Running> {
        let manifest = &handler.manifest;
        let topics = &manifest.subscribe.topics;
        let letters = plan::dead_letters(&self.config.fleet, manifest, revision.id());
        if manifest.has_dead_letters() {
            let graves = async || self.admin.ensure_dead_letter_topics(topics, &letters).await;
            self.until_reachable(graves).await?;
        }
        let retry = async || self.admin.ensure_retry_topics(topics, &manifest.name).await;
        let retry_topics = self.until_reachable(retry).await?;
        let engine = HandlerEngine::new(
            plan::engine(manifest, self.config.limits, self.budget.clone()),
            Arc::new(GuestRunner::new(revision)),
            Arc::new(KafkaDeadLetters::new(self.publisher.clone(), letters)),
            None,
            Handle::current(),
        );
        let tally = engine.tally();
        let consumer = plan::consumer(self.config, manifest, retry_topics);
        let intake = Intake::start(&self.kafka, consumer, Arc::new(engine))?;
        Ok(Running { name: manifest.name.clone(), intake, tally })
    }
}
