//! What `keylane dlq` does: counts a handler's dead letters, shows them, and redrives them.
//!
//! All of it reads the letters' topics without a group, up to the ends they have when it begins, so it
//! disturbs nobody and ends. Calls block on the brokers, so they run on threads of their own.

mod filter;
mod letter;
mod list;
mod reader;

use std::collections::BTreeSet;

pub use filter::{LetterFilter, LetterPlace};
pub use letter::Letter;
pub use list::PartitionLetters;
pub(crate) use reader::{Bounds, Found, REQUEST_LIMIT, Reader, latest};

use crate::config::KafkaConfig;
use crate::dead_letters::DeadLetterOptions;
use crate::error::KafkaError;
use crate::redrive::{self, RedriveOptions, RedriveReport};

/// One handler's dead letters.
#[derive(Debug, Clone)]
pub struct Dlq {
    pub(crate) kafka: KafkaConfig,
    pub(crate) fleet: String,
    pub(crate) handler: String,
    /// The topics that the handler reads.
    pub(crate) sources: Vec<String>,
    /// The topics that its letters lie in.
    pub(crate) topics: Vec<String>,
}

impl Dlq {
    /// The letters of a handler of this fleet that reads these topics.
    #[must_use]
    pub fn new(
        kafka: KafkaConfig,
        fleet: impl Into<String>,
        options: &DeadLetterOptions,
        sources: &[String],
    ) -> Self {
        let topics: BTreeSet<String> = sources.iter().map(|source| options.topic_of(source)).collect();
        Self {
            kafka,
            fleet: fleet.into(),
            handler: options.handler.clone(),
            sources: sources.to_vec(),
            topics: topics.into_iter().collect(),
        }
    }

    /// The topics that the letters lie in, sorted.
    #[must_use]
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// How many letters each partition holds.
    ///
    /// # Errors
    /// The letters' topics do not exist, no broker answers, or the progress of redrives cannot be read.
    pub async fn list(&self) -> Result<Vec<PartitionLetters>, KafkaError> {
        self.blocking(list::list).await
    }

    /// The newest letters that a filter lets through, oldest first. With places in the filter, exactly
    /// those.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn show(&self, filter: LetterFilter, newest: usize) -> Result<Vec<Letter>, KafkaError> {
        self.blocking(move |dlq| letter::newest(dlq, &filter, newest)).await
    }

    /// Sends letters to the retry topics that the handler reads, each once: what a redrive has sent is
    /// noted in the same transaction, so that a second one, at any time, goes on where the first ended.
    ///
    /// # Errors
    /// As [`Self::list`]; [`KafkaError::Foreign`] for letters of another handler, before anything is sent;
    /// [`KafkaError::NoTransactions`], [`KafkaError::Superseded`] and [`KafkaError::Redrive`].
    pub async fn redrive(&self, options: RedriveOptions) -> Result<RedriveReport, KafkaError> {
        redrive::run(self, options).await
    }

    /// Runs a blocking call off the runtime's own threads.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Self) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let dlq = self.clone();
        tokio::task::spawn_blocking(move || call(&dlq)).await.unwrap_or_else(|fault| {
            let (name, reason) = ("dlq".to_owned(), fault.to_string());
            Err(KafkaError::Thread { name, reason })
        })
    }
}
