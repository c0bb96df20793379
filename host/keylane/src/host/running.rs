//! A host at work: its handlers, from the first look at the brokers to the last commit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use keylane_capability::Capabilities;
use keylane_deployment::Manifest;
use keylane_effects::{Database, MailSender, Relay, RelaySenders};
use keylane_engine::{Claims, DeadLetter, HandlerEngine, HostBudget, Tally, Totals};
use keylane_guest::{GuestEngine, GuestOptions, GuestRunner, Revision};
use keylane_kafka::{
    Admin, DeadLetterOptions, Intake, KafkaConfig, KafkaDeadLetters, KafkaError, KafkaPublisher, KafkaRelay,
    letter_record,
};
use tokio::runtime::Handle;

use super::board::{Board, Posted};
use super::phase::Phase;
use super::plan;
use super::{databases, effects};
use crate::config::{Handler, HostConfig, transaction_limit};

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
    /// What it writes to, with its outbox.
    database: Option<Arc<dyn Database>>,
    relay: Option<Relay>,
}

/// What the handlers of a host share while they start.
struct Rooms<'a> {
    config: &'a HostConfig,
    kafka: KafkaConfig,
    admin: Admin,
    publisher: KafkaPublisher,
    capabilities: Capabilities,
    senders: Arc<dyn RelaySenders>,
    mail: Option<Arc<dyn MailSender>>,
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
        let rooms = Rooms::open(config, &board).await?;
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

    /// Records and mails that wait in the handlers' outboxes.
    ///
    /// # Errors
    /// When a database does not answer.
    pub(crate) async fn unsent(&self) -> anyhow::Result<u64> {
        let mut unsent = 0;
        for database in self.handlers.iter().filter_map(|running| running.database.clone()) {
            let counts = database.outbox().counts().await?;
            unsent += counts.records + counts.mails;
        }
        Ok(unsent)
    }

    /// Drains all handlers at once, commits, and leaves their groups. Answers whether everything that ran
    /// was finished and committed.
    pub(crate) async fn stop(self) -> bool {
        self.board.life().advance(Phase::Draining);
        let drain = self.drain;
        let farewells = self.handlers.into_iter().map(async |running| {
            let farewell = running.intake.stop(drain).await;
            if let Some(relay) = running.relay {
                relay.stop().await;
            }
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
        let relay = self.relay.as_ref().map(Relay::status);
        Posted { name: self.name.clone(), health, looker, pulse, relay }
    }
}

impl<'a> Rooms<'a> {
    async fn open(config: &'a HostConfig, board: &Board) -> anyhow::Result<Self> {
        let kafka = plan::kafka(config);
        let publisher = KafkaPublisher::new(&kafka)?;
        let opened = databases::open_all(config, board).await?;
        let resources = plan::resources(config, opened, Arc::new(publisher.clone()))?;
        let mail = resources.mailer.clone().map(|mailer| mailer as Arc<dyn MailSender>);
        let limits = config.handlers.iter().map(|handler| &handler.manifest.limits);
        Ok(Self {
            config,
            admin: Admin::new(&kafka)?,
            publisher,
            capabilities: Capabilities::new(resources),
            senders: Arc::new(KafkaRelay::new(
                &kafka,
                config.fleet.clone(),
                transaction_limit(config.kafka.membership.session_timeout),
            )),
            mail,
            kafka,
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
        let claims = self.claims(manifest, revision, &letters).await?;
        let engine = self.engine(handler, revision, letters, claims.clone());
        let tally = engine.tally();
        let consumer = plan::consumer(self.config, manifest, retry_topics);
        let intake = Intake::start(&self.kafka, consumer, Arc::new(engine), claims, Handle::current())?;
        let database = revision.write_database();
        let relay = database.clone().map(|database| {
            let (senders, mail) = (self.senders.clone(), self.mail.clone());
            effects::relay(&self.config.fleet, &manifest.name, database, senders, mail)
        });
        Ok(Running { name: manifest.name.clone(), intake, tally, database, relay })
    }

    /// What drives the handler's events.
    fn engine(
        &self,
        handler: &Handler,
        revision: &Revision,
        letters: DeadLetterOptions,
        claims: Option<Arc<dyn Claims>>,
    ) -> HandlerEngine<GuestRunner, KafkaDeadLetters> {
        let options = plan::engine(handler, self.config.limits, self.budget.clone());
        let runner = Arc::new(GuestRunner::new(revision));
        let dead_letters = Arc::new(KafkaDeadLetters::new(self.publisher.clone(), letters.clone()));
        if handler.manifest.is_in_cuts() {
            let form = Arc::new(move |letter: &DeadLetter| letter_record(letter, &letters));
            return HandlerEngine::in_cuts(options, runner, dead_letters, form, Handle::current());
        }
        HandlerEngine::new(options, runner, dead_letters, claims, Handle::current())
    }

    /// The handler's progress in the database that it writes to, if it has one.
    async fn claims(
        &self,
        manifest: &Manifest,
        revision: &Revision,
        letters: &DeadLetterOptions,
    ) -> anyhow::Result<Option<Arc<dyn Claims>>> {
        let Some(database) = revision.write_database() else { return Ok(None) };
        let cluster = self.until_reachable(async || self.admin.cluster_id().await).await?;
        let claims =
            effects::claims(&self.config.fleet, &manifest.name, cluster, database, letters.clone()).await?;
        Ok(Some(claims))
    }
}
