//! `keylane broker` as a child process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::waiting;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::deployment::free_port;
use crate::host::Process;

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A development broker. It is killed when the test forgets it.
pub struct DevBroker {
    /// `host:port`.
    pub bootstrap: String,
    /// The process.
    pub process: Process,
}

impl DevBroker {
    /// Starts one on a free port, with everything in memory, and waits until it answers. Its log goes to a
    /// folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::launch(free_port()?, folder, &[])
    }

    /// Starts one on this port that keeps what it has in a folder, and finds it there again.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start_kept(port: u16, folder: &Path) -> Result<Self> {
        let data = folder.join("broker-data");
        let data = data.to_str().context("the folder's name is not UTF-8")?;
        Self::launch(port, folder, &["--data", data])
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When it does not end, or not with 0.
    pub fn stop(mut self) -> Result<()> {
        self.process.terminate()?;
        let status = self.process.wait(START_LIMIT)?;
        ensure!(status.success(), "the broker ended with {status}; {}", self.process.last_words());
        Ok(())
    }

    fn launch(port: u16, folder: &Path, further: &[&str]) -> Result<Self> {
        let port_argument = port.to_string();
        let mut arguments = vec!["broker", "--port", &port_argument];
        arguments.extend(further);
        let process = Process::start(&arguments, &folder.join("broker.log"))?;
        let bootstrap = format!("127.0.0.1:{port}");
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &bootstrap).create()?;
        waiting::until("the development broker answers", START_LIMIT, || {
            Ok(client.fetch_metadata(Some("anything"), ANSWER_LIMIT).ok().map(drop))
        })
        .with_context(|| process.last_words())?;
        Ok(Self { bootstrap, process })
    }
}
