//! Topics and reachability: what is looked at before a handler starts.

mod letters;
mod settings;
mod width;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic as ClientTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use crate::config::KafkaConfig;
use crate::context::Listener;
use crate::error::KafkaError;

pub(crate) use letters::LETTER_HEADERS_BYTES;
pub(crate) use settings::{Settings, topic_settings};

/// The longest one question to the brokers may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);
/// The longest a broker may take to create topics, or partitions of them.
const CREATE_LIMIT: Duration = Duration::from_secs(15);
/// Time between two looks whether a new topic is there.
const APPEARS_EVERY: Duration = Duration::from_millis(50);
/// Time between two lines on unreachable brokers.
const SAY_UNREACHABLE_EVERY: Duration = Duration::from_secs(5);
/// Events of the client served at a time, so that its latest error is known.
const CLIENT_EVENTS: usize = 16;

/// A topic as the brokers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it gets.
    pub partitions: i32,
    /// How many replicas each has; -1 leaves it to the broker.
    pub replication: i32,
    /// Further settings of the topic, in Kafka's own words.
    pub settings: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's own settings.
    #[must_use]
    pub fn new(name: impl Into<String>, partitions: i32) -> Self {
        Self { name: name.into(), partitions, replication: -1, settings: BTreeMap::new() }
    }
}

/// Looks at topics and creates them. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    bootstrap: String,
    config: KafkaConfig,
    /// A consumer without a group: unlike other clients, asking it for a topic never creates one.
    onlooker: Arc<BaseConsumer<Listener>>,
}

impl Admin {
    /// An admin client. Brokers need not answer yet.
    ///
    /// # Errors
    /// A property that is refused, or a configuration that the client does not accept.
    pub fn new(kafka: &KafkaConfig) -> Result<Self, KafkaError> {
        kafka.check()?;
        let bootstrap = kafka.bootstrap.clone();
        let onlooker = kafka
            .onlooker()
            .create_with_context(Listener::default())
            .map_err(|error| KafkaError::from_creation(&bootstrap, error))?;
        Ok(Self { bootstrap, config: kafka.clone(), onlooker: Arc::new(onlooker) })
    }

    /// Waits until a broker answers, for as long as it takes, and says every few seconds that it waits.
    /// May be dropped at any time.
    pub async fn wait_until_reachable(&self) {
        let (since, mut next_word) = (Instant::now(), Instant::now());
        while let Err(error) = self.reach().await {
            if Instant::now() >= next_word {
                let for_s = since.elapsed().as_secs();
                tracing::warn!(%error, for_s, "keylane keeps trying");
                next_word = Instant::now() + SAY_UNREACHABLE_EVERY;
            }
        }
    }

    /// Asks once whether a broker answers.
    ///
    /// # Errors
    /// None did, with the client's own last words.
    pub async fn reach(&self) -> Result<(), KafkaError> {
        self.blocking(Self::reach_now).await
    }

    /// The cluster's own id. Offsets of one cluster say nothing of another one's records, so whoever keeps
    /// offsets elsewhere keeps this beside them.
    ///
    /// # Errors
    /// No broker answers, or the cluster has none (before Kafka 0.10.1).
    pub async fn cluster_id(&self) -> Result<String, KafkaError> {
        self.blocking(Self::cluster_id_now).await
    }

    /// The topics that exist among these.
    ///
    /// # Errors
    /// No broker answers, or one answers with an error.
    pub async fn find_topics(&self, names: &[String]) -> Result<Vec<Topic>, KafkaError> {
        let names = names.to_vec();
        self.blocking(move |admin| {
            let mut found = Vec::new();
            for name in &names {
                found.extend(admin.find_now(name)?);
            }
            Ok(found)
        })
        .await
    }

    /// The topics, all of which must exist.
    ///
    /// # Errors
    /// [`KafkaError::MissingTopics`] names those that do not; else as [`Self::find_topics`].
    pub async fn check_topics(&self, names: &[String]) -> Result<Vec<Topic>, KafkaError> {
        let found = self.find_topics(names).await?;
        let missing: Vec<String> =
            names.iter().filter(|name| found.iter().all(|topic| topic.name != **name)).cloned().collect();
        if missing.is_empty() {
            return Ok(found);
        }
        Err(KafkaError::MissingTopics { bootstrap: self.bootstrap.clone(), topics: missing })
    }

    /// Which of these topics take no batch of so many bytes, and how many they take; those of which the brokers do not
    /// tell are left out.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn small_topics(
        &self,
        names: &[String],
        bytes: usize,
    ) -> Result<BTreeMap<String, usize>, KafkaError> {
        let told = self.settings(names).await?.into_iter();
        let taken = told.filter_map(|(name, settings)| Some((name, settings.record_bytes?)));
        Ok(taken.filter(|(_, taken)| *taken < bytes).collect())
    }

    /// Creates the topics and waits until they can be used. One that exists is left as it is.
    ///
    /// # Errors
    /// The first topic that was refused, or that did not appear in time.
    pub async fn create_topics(&self, topics: &[NewTopic]) -> Result<(), KafkaError> {
        let wanted: Vec<ClientTopic<'_>> = topics.iter().map(client_topic).collect();
        let admin = self.changer().map_err(|error| KafkaError::from_creation(&self.bootstrap, error))?;
        let results = admin.create_topics(&wanted, &change_options()).await;
        put_down(admin);
        let results = results.map_err(|error| self.unreachable(&error.to_string()))?;
        for result in results {
            match result {
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((topic, code)) => {
                    let can_retry = matches!(code, Code::OperationTimedOut | Code::NotController);
                    return Err(KafkaError::Topic { topic, reason: code.to_string(), can_retry });
                }
            }
        }
        self.await_topics(topics).await
    }

    /// A client that changes something, to be given to [`put_down`] when it has.
    fn changer(&self) -> Result<AdminClient<Listener>, ClientError> {
        self.config.onlooker().create_with_context(Listener::default())
    }

    /// The settings of topics; those that the brokers do not tell are left out.
    async fn settings(&self, names: &[String]) -> Result<BTreeMap<String, Settings>, KafkaError> {
        settings::topic_settings(&self.config.onlooker(), names, REQUEST_LIMIT)
            .await
            .map_err(|error| self.unreachable(&error.to_string()))
    }

    async fn await_topics(&self, topics: &[NewTopic]) -> Result<(), KafkaError> {
        let until = Instant::now() + CREATE_LIMIT;
        for topic in topics {
            while self.find_topics(std::slice::from_ref(&topic.name)).await?.is_empty() {
                if Instant::now() >= until {
                    let reason = "it was created, but the brokers do not show it yet".to_owned();
                    return Err(KafkaError::Topic { topic: topic.name.clone(), reason, can_retry: true });
                }
                tokio::time::sleep(APPEARS_EVERY).await;
            }
        }
        Ok(())
    }

    /// Runs a blocking question off the runtime's own threads.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let admin = self.clone();
        tokio::task::spawn_blocking(move || ask(&admin))
            .await
            .unwrap_or_else(|fault| Err(self.unreachable(&fault.to_string())))
    }

    fn reach_now(&self) -> Result<(), KafkaError> {
        // Whether this topic exists does not matter: the question is only whether anybody answers.
        let answer = self.onlooker.client().fetch_metadata(Some("keylane-reach"), REQUEST_LIMIT);
        self.serve_client();
        match answer {
            Ok(_) => {
                self.onlooker.context().reached();
                Ok(())
            }
            Err(error) => Err(self.unreachable(&error.to_string())),
        }
    }

    fn cluster_id_now(&self) -> Result<String, KafkaError> {
        // The client remembers an id that it was told before, and else waits for a broker to tell one.
        let told = self.onlooker.client().fetch_cluster_id(REQUEST_LIMIT);
        self.serve_client();
        told.filter(|id| !id.is_empty()).ok_or_else(|| self.unreachable("the brokers tell no cluster id"))
    }

    fn find_now(&self, name: &str) -> Result<Option<Topic>, KafkaError> {
        let answer = self.onlooker.client().fetch_metadata(Some(name), REQUEST_LIMIT);
        self.serve_client();
        let metadata = answer.map_err(|error| self.unreachable(&error.to_string()))?;
        let Some(told) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match told.error().map(Code::from) {
            None => {
                let partitions = i32::try_from(told.partitions().len()).unwrap_or(i32::MAX);
                Ok((partitions > 0).then(|| Topic { name: name.to_owned(), partitions }))
            }
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::LeaderNotAvailable) => Ok(None),
            Some(code) => {
                let can_retry = code == Code::TopicAuthorizationFailed;
                Err(KafkaError::Topic { topic: name.to_owned(), reason: code.to_string(), can_retry })
            }
        }
    }

    /// Lets the client speak, so that its latest error is known.
    fn serve_client(&self) {
        for _ in 0..CLIENT_EVENTS {
            drop(self.onlooker.poll(Duration::ZERO));
        }
    }

    fn unreachable(&self, reason: &str) -> KafkaError {
        let heard = self.onlooker.context().last_error();
        let reason = heard.unwrap_or_else(|| reason.to_owned());
        KafkaError::Unreachable { bootstrap: self.bootstrap.clone(), reason }
    }
}

/// How long a change may take.
fn change_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(CREATE_LIMIT)).operation_timeout(Some(CREATE_LIMIT))
}

/// The end of a client that changes something joins a thread, which is not for a task to wait for.
fn put_down(changer: AdminClient<Listener>) {
    tokio::task::spawn_blocking(move || drop(changer));
}

fn client_topic(topic: &NewTopic) -> ClientTopic<'_> {
    let replication = TopicReplication::Fixed(topic.replication);
    let new = ClientTopic::new(&topic.name, topic.partitions, replication);
    topic.settings.iter().fold(new, |new, (key, value)| new.set(key, value))
}
