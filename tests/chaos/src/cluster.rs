//! Three brokers of Apache Kafka for one run, through `tests/kafka/kafka.sh`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::numbers::Numbers;
use crate::plan::SESSION_MS;
use crate::{clock, place, report};

/// Brokers, named 1, 2 and 3.
pub const BROKERS: i32 = 3;
/// Each broker's memory: little is written.
const HEAP: &str = "256m";
/// Where to look for free ports: below those that clients get, so that none of them takes a killed
/// broker's port.
const PORTS: (u64, u64) = (20_000, 31_000);
/// The ports a run takes, counted from the first: brokers and controllers, then the hosts' admin ports.
const BLOCK: [u16; 10] = [0, 1, 10, 11, 20, 21, 31, 32, 33, 34];
/// The first of the admin ports.
const ADMIN: u16 = 31;
/// Attempts to find free ports and start there: another process may be quicker.
const START_ATTEMPTS: u32 = 4;

/// Running brokers. Dropping it kills them and removes their data; should this process be killed, guards
/// beside the brokers do the same.
pub struct Cluster {
    port: u16,
    folder: PathBuf,
    keep: bool,
}

impl Cluster {
    /// Starts three brokers with their folders in this one.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start(folder: &Path) -> Result<Self> {
        let extra = folder.join("kafka.properties");
        std::fs::write(&extra, sessions())?;
        let mut last = anyhow::anyhow!("not tried");
        for attempt in 0..START_ATTEMPTS {
            let cluster = Self {
                port: free_block(u64::from(std::process::id()) + u64::from(attempt))?,
                folder: folder.join(format!("kafka-{attempt}")),
                keep: false,
            };
            match cluster.script(&["up3"], Some(&extra)) {
                Ok(()) => return Ok(cluster),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The addresses for clients.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        [0, 10, 20].map(|further| format!("127.0.0.1:{}", self.port + further)).join(",")
    }

    /// The port of the admin port of a host's slot.
    ///
    /// # Errors
    /// When there are not so many slots.
    pub fn admin_port(&self, slot: usize) -> Result<u16> {
        Ok(self.port + ADMIN + u16::try_from(slot)?)
    }

    /// Kills a broker with SIGKILL; it is gone when this returns.
    ///
    /// # Errors
    /// When the script fails.
    pub fn kill(&self, broker: i32) -> Result<()> {
        self.script(&["kill-node", &broker.to_string()], None)
    }

    /// What starts a killed broker again and waits until it serves clients. It can run beside other things.
    pub fn restart(&self, broker: i32) -> impl FnOnce() -> Result<()> + Send + 'static {
        let command = self.command(&["start-node", &broker.to_string()], None);
        move || run(command)
    }

    /// Leaves the brokers' logs and data where they are when the brokers end.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    fn script(&self, command: &[&str], extra: Option<&Path>) -> Result<()> {
        run(self.command(command, extra))
    }

    fn command(&self, arguments: &[&str], extra: Option<&Path>) -> Command {
        let mut command = Command::new(place::kafka_script());
        command.args(arguments).arg(self.port.to_string()).arg(&self.folder);
        command.env("KAFKA_OWNER", std::process::id().to_string()).env("KAFKA_HEAP", HEAP);
        if let Some(extra) = extra {
            command.env("KAFKA_EXTRA", extra);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let command = if self.keep { "kill3" } else { "clean3" };
        if let Err(error) = self.script(&[command], None) {
            report::say(&format!("the brokers from port {} on may still run: {error:#}", self.port));
        }
    }
}

/// Sessions of seconds keep a round short. In the newer protocol they are the broker's to set, 45 s by
/// default and at least.
fn sessions() -> String {
    let heartbeat_ms = SESSION_MS / 4;
    format!(
        "group.min.session.timeout.ms=1000\n\
         group.consumer.min.session.timeout.ms=1000\n\
         group.consumer.session.timeout.ms={SESSION_MS}\n\
         group.consumer.min.heartbeat.interval.ms=500\n\
         group.consumer.heartbeat.interval.ms={heartbeat_ms}\n"
    )
}

fn run(mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("tests/kafka/kafka.sh cannot be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

/// The first port of a block that is free.
fn free_block(seed: u64) -> Result<u16> {
    let mut numbers = Numbers::new(seed, clock::now_ms());
    for _ in 0..100 {
        let first = u16::try_from(numbers.between(PORTS.0, PORTS.1))?;
        let is_free = |further: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, first + further)).is_ok();
        if BLOCK.iter().all(is_free) {
            return Ok(first);
        }
    }
    bail!("no free ports on 127.0.0.1 between {} and {}", PORTS.0, PORTS.1)
}
