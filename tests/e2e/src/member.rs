//! One running host, seen through its admin port and its log.

use anyhow::{Context, Result, ensure};
use keylane_test_support::waiting;
use serde::Deserialize;

use crate::deployment::Deployment;
use crate::fleet::{LIMIT, TOKEN};
use crate::host::{self, Process};
use crate::metrics::Metrics;

/// A running host. It is killed when the test forgets it.
pub struct Host {
    /// The process.
    pub process: Process,
    pub(crate) port: u16,
}

#[derive(Deserialize)]
struct HostStatus {
    handlers: Vec<HandlerStatus>,
}

#[derive(Deserialize)]
struct HandlerStatus {
    partitions: Vec<PartitionStatus>,
}

/// A partition as a host tells of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Where the consumer stands with it.
    pub phase: String,
    /// Why it is not read.
    pub fault: Option<String>,
    /// Records that are not ended yet, as far as the host knows.
    pub lag: Option<u64>,
}

impl Host {
    /// The host that was started on this deployment, whose token must be [`TOKEN`].
    #[must_use]
    pub fn of(deployment: &Deployment, process: Process) -> Self {
        Self { process, port: deployment.admin_port }
    }

    /// Its partitions, in order.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn partitions(&self) -> Result<Vec<PartitionStatus>> {
        let (code, body) = host::tell_port(self.port, "GET", "/status", Some(TOKEN), "")?;
        ensure!(code == 200, "/status answered {code}: {body}");
        let status: HostStatus = serde_json::from_str(&body)?;
        let mut partitions: Vec<_> = status.handlers.into_iter().flat_map(|h| h.partitions).collect();
        partitions.sort();
        Ok(partitions)
    }

    /// The partitions it reads, those of the handler's retry topics among them.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn reads(&self) -> Result<Vec<(String, i32)>> {
        let reading = self.partitions()?.into_iter().filter(|one| one.phase == "reading");
        Ok(reading.map(|one| (one.topic, one.partition)).collect())
    }

    /// Waits until `/readyz` answers with this code and these words.
    ///
    /// # Errors
    /// When it does not, with what it answers.
    pub fn until_ready_is(&self, code: u16, words: &str) -> Result<()> {
        let mut last = None;
        waiting::until(&format!("/readyz answers {code} and {words:?}"), LIMIT, || {
            last = Some(self.readiness()?);
            Ok(last.as_ref().is_some_and(|(c, w)| *c == code && w.contains(words)).then_some(()))
        })
        .with_context(|| format!("{last:?}; {}", self.process.last_words()))
    }

    /// What `/readyz` answers.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn readiness(&self) -> Result<(u16, String)> {
        host::tell_port(self.port, "GET", "/readyz", None, "")
    }

    /// What `/metrics` tells now.
    ///
    /// # Errors
    /// When the host does not answer, or not as it should.
    pub fn metrics(&self) -> Result<Metrics> {
        let (code, body) = host::tell_port(self.port, "GET", "/metrics", None, "")?;
        ensure!(code == 200, "/metrics answered {code}: {body}");
        Metrics::read(&body)
    }

    /// SIGTERM, and the end of it.
    ///
    /// # Errors
    /// When it does not end well in time.
    pub fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        let status = self.process.wait(LIMIT)?;
        ensure!(status.success(), "the host ended with {status}; {}", self.process.last_words());
        Ok(())
    }

    /// How often its log says this.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn says(&self, text: &str) -> Result<usize> {
        Ok(self.process.log()?.matches(text).count())
    }

    /// How many changes of its assignment it has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn changes(&self) -> Result<usize> {
        let change = |what: &&str| self.says(&format!("\"message\":\"{what}\""));
        Ok(["assigned", "revoked", "lost"].iter().map(change).collect::<Result<Vec<_>>>()?.iter().sum())
    }
}
