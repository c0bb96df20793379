//! What the handlers of a host share while they start, and how one of them does.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keylane_capability::{Capabilities, CapabilityLimits, Mailer};
use keylane_deployment::Manifest;
use keylane_effects::{MailSender, RelaySenders};
use keylane_engine::{Boxed, Claims, DeadLetter, HandlerEngine, HostBudget};
use keylane_guest::{Fitted, GuestEngine, GuestOptions, GuestRunner, Revision};
use keylane_kafka::{
    Admin, DeadLetterOptions, Intake, KafkaConfig, KafkaDeadLetters, KafkaError, KafkaPublisher, KafkaRelay,
    letter_record,
};
use tokio::runtime::Handle;

use super::databases::OfHandler;
use super::running::Running;
use super::{effects, plan};
use crate::config::{Handler, HostConfig, transaction_limit};

/// The wait after a broker answered with an error that may pass.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What the handlers of a host share while they start.
pub(super) struct Rooms {
    pub(super) config: HostConfig,
    kafka: KafkaConfig,
    admin: Admin,
    publisher: KafkaPublisher,
    senders: Arc<dyn RelaySenders>,
    mailer: Option<Arc<Mailer>>,
    guests: GuestEngine,
    budget: Arc<HostBudget>,
    /// The databases that are open, by handler: that no two handlers write to one is seen by whichever comes later.
    opened: Mutex<BTreeMap<String, OfHandler>>,
}

impl Rooms {
    pub(super) fn open(config: &HostConfig) -> anyhow::Result<Self> {
        let kafka = plan::kafka(config);
        let limits = config.handlers.iter().map(|handler| &handler.manifest.limits);
        Ok(Self {
            admin: Admin::new(&kafka)?,
            publisher: KafkaPublisher::new(&kafka)?,
            senders: Arc::new(KafkaRelay::new(
                &kafka,
                config.fleet.clone(),
                transaction_limit(config.kafka.membership.session_timeout),
            )),
            mailer: plan::mail(config)?,
            kafka,
            guests: GuestEngine::new(GuestOptions::for_handlers(limits))?,
            budget: HostBudget::new(config.limits.host_bytes),
            opened: Mutex::default(),
            config: config.clone(),
        })
    }

    /// Keeps a handler's open databases, for itself and for the others to look at.
    pub(super) fn keep(&self, handler: &Handler, opened: OfHandler) {
        let mut all = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(handler.manifest.name.clone(), opened);
    }

    /// The component of a handler: what is wrong with it is said at once, without waiting for a broker or a database.
    pub(super) async fn fit(&self, handler: &Handler) -> anyhow::Result<Fitted> {
        let capabilities = self.capabilities()?;
        Ok(Revision::fit(&self.guests, &handler.manifest, folder(handler), &capabilities).await?)
    }

    /// The revision of a handler whose databases are open. Waits for its write database as long as it takes, to bring
    /// the handler's tables up to date there.
    pub(super) async fn load(&self, handler: &Handler, fitted: Fitted) -> anyhow::Result<Revision> {
        let capabilities = self.capabilities()?;
        Ok(fitted.prepare(&self.guests, &handler.manifest, folder(handler), &capabilities).await?)
    }

    fn capabilities(&self) -> anyhow::Result<Capabilities> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let publisher = Arc::new(self.publisher.clone());
        Ok(Capabilities::new(plan::resources(&self.config, opened, publisher, self.mailer.clone())?))
    }

    /// Asks again for as long as the brokers are away; any other answer counts.
    async fn until_reachable<'a, T>(
        &self,
        ask: impl Fn() -> Boxed<'a, Result<T, KafkaError>> + Send,
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
    pub(super) async fn check_topics(&self) -> Result<(), KafkaError> {
        let manifests = || self.config.handlers.iter().map(|handler| &handler.manifest);
        let read = manifests().flat_map(|manifest| &manifest.subscribe.topics);
        let grants = manifests().filter_map(|manifest| manifest.grants.producer.as_ref());
        let produced: BTreeSet<&String> = grants.flat_map(|grant| &grant.topics).collect();
        let all: BTreeSet<&String> = read.chain(produced.iter().copied()).collect();
        let topics: Vec<String> = all.into_iter().cloned().collect();
        self.until_reachable(|| Box::pin(self.admin.check_topics(&topics))).await?;
        self.warn_of_small_topics(&produced.into_iter().cloned().collect::<Vec<_>>()).await;
        Ok(())
    }

    /// A handler may produce a record that its topic refuses later: brokers weigh what is compressed, so nobody can
    /// tell when the handler hands it over.
    async fn warn_of_small_topics(&self, produced: &[String]) {
        let bytes = CapabilityLimits::default().record_bytes;
        match self.admin.small_topics(produced, bytes).await {
            Ok(small) => small.into_iter().for_each(|(topic, taken)| {
                tracing::warn!(
                    topic,
                    taken,
                    "the topic takes fewer bytes (max.message.bytes) than a produced record may have ({bytes}): larger \
                     ones will be refused"
                );
            }),
            // Brokers that do not tell keep nobody from starting.
            Err(error) => tracing::debug!(%error, "whether topics take the largest records is not known"),
        }
    }

    pub(super) async fn start(&self, handler: &Handler, revision: &Revision) -> anyhow::Result<Running> {
        let manifest = &handler.manifest;
        let topics = &manifest.subscribe.topics;
        let letters = plan::dead_letters(&self.config.fleet, manifest, revision.id());
        if manifest.has_dead_letters() {
            let graves = || self.admin.ensure_dead_letter_topics(topics, &letters);
            self.until_reachable(|| Box::pin(graves())).await?;
        }
        let retry = || self.admin.ensure_retry_topics(topics, &manifest.name);
        let retry_topics = self.until_reachable(|| Box::pin(retry())).await?;
        let claims = self.claims(manifest, revision, &letters).await?;
        let engine = self.engine(handler, revision, letters, claims.clone());
        let tally = engine.tally();
        let consumer = plan::consumer(&self.config, manifest, retry_topics);
        let intake = Intake::start(&self.kafka, consumer, Arc::new(engine), claims, Handle::current())?;
        let database = revision.write_database();
        let relay = database.clone().map(|database| {
            let mail = self.mailer.clone().map(|mailer| mailer as Arc<dyn MailSender>);
            effects::relay(&self.config.fleet, &manifest.name, database, self.senders.clone(), mail)
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
        let cluster = self.until_reachable(|| Box::pin(self.admin.cluster_id())).await?;
        let claims =
            effects::claims(&self.config.fleet, &manifest.name, cluster, database, letters.clone()).await?;
        Ok(Some(claims))
    }
}

/// Where a handler's manifest lies.
fn folder(handler: &Handler) -> &Path {
    handler.file.parent().unwrap_or_else(|| Path::new(""))
}
