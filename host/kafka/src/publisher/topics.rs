//! Which topics take only batches smaller than ours.
//!
//! Each topic's limit is asked for once, before its first record. Whoever brings that record asks; others
//! for the same topic wait with it, for at most [`LOOK_LIMIT`]. Where the broker does not tell, or the limit
//! is made smaller later, the first refusal shows it; only then may records of one key that were under way
//! together arrive in another order. A limit that is raised is noticed at the next start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::ClientConfig;
use tokio::sync::OnceCell;

use super::meters::UNTOLD;
use crate::admin::topic_settings;

/// The longest the first record of a topic waits for what the broker tells of it.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// The client's own bound on a batch, in bytes, where an operator has not set `batch.size`.
const BATCH_BYTES: usize = 1_000_000;

#[derive(Default)]
struct Known {
    looked: OnceCell<()>,
    is_small: AtomicBool,
}

/// What is known of topics. As many as handlers may write to, which their manifests bound.
pub(super) struct Topics {
    onlooker: ClientConfig,
    batch_bytes: usize,
    known: Mutex<BTreeMap<String, Arc<Known>>>,
}

impl Topics {
    pub(super) fn new(onlooker: ClientConfig, producer: &ClientConfig) -> Self {
        let set = producer.get("batch.size").and_then(|bytes| bytes.parse().ok());
        Self { onlooker, batch_bytes: set.unwrap_or(BATCH_BYTES), known: Mutex::default() }
    }

    /// Whether records of this topic are to be sent each in a batch of its own.
    pub(super) async fn needs_alone(&self, topic: &str) -> bool {
        let known = self.known(topic);
        known.looked.get_or_init(|| self.look(topic, &known)).await;
        known.is_small.load(Ordering::Relaxed)
    }

    /// A record of this topic was refused in a batch and taken alone.
    pub(super) fn note_small(&self, topic: &str) {
        if !self.known(topic).is_small.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                topic,
                "the topic takes only batches smaller than ours; its records are sent one by one from now on"
            );
        }
    }

    fn known(&self, topic: &str) -> Arc<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(topic) {
            Some(one) => one.clone(),
            None => known.entry(topic.to_owned()).or_default().clone(),
        }
    }

    async fn look(&self, topic: &str, known: &Known) {
        let told = topic_settings(&self.onlooker, &[topic.to_owned()], LOOK_LIMIT).await;
        let bytes = match told {
            Ok(told) => told.get(topic).and_then(|settings| settings.record_bytes),
            Err(error) => {
                metrics::counter!(UNTOLD).increment(1);
                tracing::debug!(topic, %error, "the broker does not tell how large a topic's batches may be");
                None
            }
        };
        if let Some(bytes) = bytes.filter(|bytes| *bytes < self.batch_bytes) {
            known.is_small.store(true, Ordering::Relaxed);
            tracing::info!(
                topic,
                bytes,
                "the topic takes only small batches; its records are sent one by one"
            );
        }
    }
}
