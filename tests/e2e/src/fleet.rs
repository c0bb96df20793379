//! Several hosts of one fleet with one handler that copies every event to another topic: what was done, and
//! in which order, can then be read from the broker, whatever became of the hosts.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tempfile::TempDir;

use crate::broker::{Stored, Subscription};
use crate::deployment::free_port;
use crate::host::{self, Process};
use crate::{place, waiting};

/// Where the handler copies to: the component has it fixed.
pub const COPIES: &str = "echoes";
/// How long a host may take for any step.
pub const LIMIT: Duration = Duration::from_secs(120);

const HANDLER: &str = "echo";
const COMPONENT: &str = "guest_echo.wasm";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The manifest and the host files of a fleet.
pub struct Fleet {
    folder: TempDir,
    bootstrap: String,
    name: String,
    topics: Vec<String>,
    /// Hosts started so far: each start has a log of its own.
    starts: Cell<usize>,
}

impl Fleet {
    /// Lays out a fleet whose handler reads these topics. Its name must be its own on the broker.
    ///
    /// # Errors
    /// When the component is not built or a file cannot be written.
    pub fn new(bootstrap: &str, name: &str, topics: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::copy(place::component(COMPONENT)?, folder.path().join(COMPONENT))?;
        std::fs::write(folder.path().join("token"), TOKEN)?;
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (bootstrap, name) = (bootstrap.to_owned(), name.to_owned());
        let fleet = Self { folder, bootstrap, name, topics, starts: Cell::new(0) };
        fleet.subscribe("")?;
        Ok(fleet)
    }

    /// Writes further lines into the manifest's `[subscribe]`; hosts that are started later have them.
    ///
    /// # Errors
    /// When the manifest cannot be written.
    pub fn subscribe(&self, further: &str) -> Result<()> {
        let manifest = format!(
            "name = {HANDLER:?}\ncomponent = {COMPONENT:?}\n\n[subscribe]\ntopics = {:?}\n{further}\n\n\
             [grants.producer]\ntopics = [{COPIES:?}]\n",
            self.topics
        );
        Ok(std::fs::write(self.folder.path().join("handler.toml"), manifest)?)
    }

    /// The handler's group.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}.{HANDLER}", self.name)
    }

    /// What the handler's group reads.
    #[must_use]
    pub fn subscription(&self) -> Subscription {
        Subscription { group: self.group(), topics: self.topics.clone() }
    }

    /// Starts a host, with further lines in its `[kafka]`.
    ///
    /// # Errors
    /// When the binary is not built or cannot be started.
    pub fn start(&self, kafka: &str) -> Result<Host> {
        let number = self.starts.get();
        self.starts.set(number + 1);
        let port = free_port()?;
        let config = self.folder.path().join(format!("host-{number}.toml"));
        let text = format!(
            "fleet = {:?}\nhandlers = [\"handler.toml\"]\n\n[kafka]\nbrokers = [{:?}]\n{kafka}\n\n\
             [admin]\nlisten = \"127.0.0.1:{port}\"\ntoken-file = \"token\"\n",
            self.name, self.bootstrap
        );
        std::fs::write(&config, text)?;
        let config = config.to_str().context("the temporary folder's name is not UTF-8")?;
        let process = Process::start(&["host", "--config", config], &self.log(number))?;
        Ok(Host { process, port })
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("host-{number}.log"))
    }
}

/// A running host of a fleet. It is killed when the test forgets it.
pub struct Host {
    /// The process.
    pub process: Process,
    port: u16,
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

    /// What `/metrics` says in the first line that begins so.
    ///
    /// # Errors
    /// When the host does not answer.
    pub fn metric(&self, start: &str) -> Result<Option<f64>> {
        let (_, body) = host::tell_port(self.port, "GET", "/metrics", None, "")?;
        let line = body.lines().find(|line| line.starts_with(start));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()))
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
}

/// Waits until each host reads so many partitions, and no two read the same. A topic's partitions count twice,
/// for its retry topic has as many.
///
/// # Errors
/// When that does not come, with what they read last.
pub fn until_each_reads(hosts: &[&Host], counts: &[usize]) -> Result<()> {
    let mut last = String::new();
    let waited = waiting::until(&format!("{counts:?} partitions"), LIMIT, || {
        // A host that has just begun does not answer yet.
        let read: Vec<_> = hosts.iter().map(|host| host.reads().unwrap_or_default()).collect();
        last = format!("{read:?}");
        let different = read.iter().flatten().collect::<std::collections::BTreeSet<_>>().len();
        let right = read.iter().map(Vec::len).eq(counts.iter().copied());
        Ok((right && different == counts.iter().sum::<usize>()).then_some(()))
    });
    let words = || hosts.iter().map(|host| host.process.last_words()).collect::<Vec<_>>().join("\n");
    waited.with_context(|| format!("they read {last}; {}", words()))
}

/// Judges copies of numbered events: `expected` are the values of each key, in the order they were written.
/// Every one must be there, and each key's must have been done in order: a value may be done again after a
/// crash, but never before the ones in front of it were done once.
///
/// # Errors
/// What is missing or out of order.
pub fn check_copies(copies: &[Stored], expected: &[(String, Vec<String>)]) -> Result<()> {
    for (key, values) in expected {
        let mut copied =
            copies.iter().filter(|copy| copy.record.key.as_deref() == Some(key)).collect::<Vec<_>>();
        copied.sort_by_key(|copy| (copy.partition, copy.offset));
        let mut firsts: Vec<&str> = Vec::new();
        for value in copied.iter().filter_map(|copy| copy.record.value.as_deref()) {
            if !firsts.contains(&value) {
                firsts.push(value);
            }
        }
        ensure!(firsts == *values, "the key {key}: {values:?} were written, {firsts:?} were done");
    }
    Ok(())
}
