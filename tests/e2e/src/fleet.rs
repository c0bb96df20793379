//! Several hosts of one fleet with one handler that copies every event to another topic: what was done, and
//! in which order, can then be read from the broker, whatever became of the hosts.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::waiting;
use tempfile::TempDir;

use crate::broker::{Stored, Subscription};
use crate::deployment::free_port;
use crate::host::Process;
use crate::member::Host;
use crate::offsets::Onlooker;
use crate::place;

/// Where the handler copies to: the component has it fixed.
pub const COPIES: &str = "echoes";
/// How long a host may take for any step.
pub const LIMIT: Duration = Duration::from_secs(120);

const HANDLER: &str = "echo";
const COMPONENT: &str = "guest_echo.wasm";
/// The token of the admin ports.
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// What a host file says in `[kafka]` for a group of the classic kind.
pub const CLASSIC: &str = "session-timeout = \"6s\"";
/// The same for a group of KIP-848.
pub const CONSUMER: &str = "group-protocol = \"consumer\"\nsession-timeout = \"6s\"";
/// What Apache Kafka needs for both: a member of KIP-848 that dies is noticed as soon as a classic one.
/// Kafka's default is 45 s, and no less.
pub const BROKER_PROPERTIES: &str = "group.consumer.min.session.timeout.ms=6000\ngroup.consumer.session.timeout.ms=6000\n\
     group.consumer.min.heartbeat.interval.ms=500\ngroup.consumer.heartbeat.interval.ms=1000\n";

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

    /// Starts a host, with further lines in its `[kafka]`, and perhaps further tables behind them.
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

    /// Waits until the handler's group has committed all there is.
    ///
    /// # Errors
    /// When it has not within the limit, with what is missing.
    pub fn until_done(&self) -> Result<()> {
        let done = Onlooker::new(&self.bootstrap).until_all_is_done(&[self.subscription()], LIMIT);
        done.with_context(|| self.group())
    }

    fn log(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("host-{number}.log"))
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
