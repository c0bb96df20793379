//! `keylane broker` as a child process.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::deployment::free_port;
use crate::host::Process;
use crate::waiting;

/// How long it may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A development broker that keeps everything in memory. It is killed when the test forgets it.
pub struct DevBroker {
    /// `host:port`.
    pub bootstrap: String,
    /// The process.
    pub process: Process,
}

impl DevBroker {
    /// Starts one on a free port and waits until it answers. Its log goes to a folder.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_on(free_port()?, folder)
    }

    /// The same on this port.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn start_on(port: u16, folder: &Path) -> Result<Self> {
        let port_argument = port.to_string();
        let process = Process::start(&["broker", "--port", &port_argument], &folder.join("broker.log"))?;
        let bootstrap = format!("127.0.0.1:{port}");
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &bootstrap).create()?;
        waiting::until("the development broker answers", START_LIMIT, || {
            Ok(client.fetch_metadata(Some("anything"), ANSWER_LIMIT).ok().map(drop))
        })?;
        Ok(Self { bootstrap, process })
    }
}
