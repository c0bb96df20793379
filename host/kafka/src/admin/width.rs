//! Retry topics as wide as their sources. A source may get partitions after its retry topic was made; then
//! an event's own partition may be missing from it, and keys lie elsewhere than in the source. Partitions can
//! be added, never taken away, so a retry topic that is wider than its source stays so.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::admin::NewPartitions;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::{APPEARS_EVERY, Admin, CREATE_LIMIT, Topic, change_options, put_down};
use crate::dead_letters::retry_topic;
use crate::error::KafkaError;

impl Admin {
    /// Gives each retry topic of these sources, all of which exist, at least as many partitions as its source
    /// has. Answers how many each has then.
    ///
    /// # Errors
    /// [`KafkaError::TooNarrow`] for the first that could not be given them.
    pub(super) async fn widen_retry_topics(
        &self,
        sources: &[String],
        handler: &str,
    ) -> Result<BTreeMap<String, i32>, KafkaError> {
        let sources = self.check_topics(sources).await?;
        let names: Vec<String> = sources.iter().map(|source| retry_topic(&source.name, handler)).collect();
        // Found in the order in which they were asked for.
        let topics = self.check_topics(&names).await?;
        let mut widths = BTreeMap::new();
        for (topic, source) in topics.into_iter().zip(&sources) {
            let partitions = match topic.partitions < source.partitions {
                true => self.widen(&topic, source).await?,
                false => topic.partitions,
            };
            widths.insert(topic.name, partitions);
        }
        Ok(widths)
    }

    async fn widen(&self, topic: &Topic, source: &Topic) -> Result<i32, KafkaError> {
        let needed = source.partitions;
        let refused = self.add_partitions(&topic.name, needed).await.err();
        // Another host may have done the same at the same time, which a broker refuses as well; others may not
        // show it yet.
        let until = Instant::now() + CREATE_LIMIT;
        loop {
            let found = self.find_topics(std::slice::from_ref(&topic.name)).await?;
            let partitions = found.first().map_or(0, |topic| topic.partitions);
            if partitions >= needed {
                if refused.is_none() {
                    let (topic, source) = (&topic.name, &source.name);
                    tracing::info!(
                        topic,
                        source,
                        partitions,
                        "the retry topic has as many partitions as its source again"
                    );
                }
                return Ok(partitions);
            }
            let unseen = || ("it was given them, but the brokers do not show them yet".to_owned(), true);
            let is_over = Instant::now() >= until;
            match &refused {
                Some(error) if is_over || !is_as_wide(error) => {
                    return Err(too_narrow(topic, source, refusal(error)));
                }
                None if is_over => return Err(too_narrow(topic, source, unseen())),
                _ => tokio::time::sleep(APPEARS_EVERY).await,
            }
        }
    }

    async fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), ClientError> {
        let wanted = NewPartitions::new(topic, usize::try_from(partitions).unwrap_or_default());
        let admin = self.changer()?;
        let results = admin.create_partitions([&wanted], &change_options()).await;
        put_down(admin);
        let refusal = results?.into_iter().find_map(Result::err);
        refusal.map_or(Ok(()), |(_, code)| Err(ClientError::AdminOp(code)))
    }
}

/// Whether the broker says that the topic has as many partitions already, or more.
fn is_as_wide(error: &ClientError) -> bool {
    matches!(error, ClientError::AdminOp(Code::InvalidPartitions))
}

/// What the broker said, and whether it may say otherwise without anybody changing anything.
fn refusal(error: &ClientError) -> (String, bool) {
    let code = match error {
        ClientError::AdminOp(code) => Some(*code),
        error => error.rdkafka_error_code(),
    };
    let is_final = matches!(
        code,
        Some(
            Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::PolicyViolation
                | Code::UnsupportedFeature
        )
    );
    (code.map_or_else(|| error.to_string(), |code| code.to_string()), !is_final)
}

fn too_narrow(topic: &Topic, source: &Topic, (reason, can_retry): (String, bool)) -> KafkaError {
    KafkaError::TooNarrow {
        topic: topic.name.clone(),
        partitions: topic.partitions,
        needed: source.partitions,
        source_topic: source.name.clone(),
        reason,
        can_retry,
    }
}
