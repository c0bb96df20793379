//! The hosts: `keylane host` as separate processes of one fleet, started, killed, stopped, told to end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use keylane_test_support::waiting;
use sha2::{Digest, Sha256};

use crate::effects::Equipment;
use crate::losses::{self, Loss};
use crate::place;
use crate::plan::SESSION_MS;

/// The topic that the hosts read.
pub const INPUT: &str = "chaos-input";
/// The topic that tells what the handlers saw. `tests/guests/witness` knows it too.
pub const SEEN: &str = "chaos-seen";
/// The topic of the dead letters.
pub const LETTERS: &str = "chaos-input.witness.dlq";
/// The consumer group.
pub const GROUP: &str = "chaos.witness";
/// The name of the handler.
pub const HANDLER: &str = "witness";
/// The most attempts of an event.
pub const ATTEMPTS: u32 = 5;
/// What stands in the component where each host gets its own digits.
const MARK: &[u8] = b"witness-of-host:00000000";
/// The metric that is 1 on the host that relays.
const RELAYS: &str = "keylane_relay_active{";
/// How long a question to an admin port may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Ends a host whose owner has gone without ending it. $1 is the owner, $2 the host.
const GUARD: &str = r#"
while kill -0 "$1" 2>/dev/null; do
  kill -0 "$2" 2>/dev/null || exit 0
  sleep 1
done
kill -KILL "$2""#;

/// How the hosts form their group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// The members share the partitions out.
    Classic,
    /// The coordinator does (KIP-848).
    Consumer,
}

/// One process. Dropping it kills the host.
struct Host {
    number: u32,
    child: Child,
    guard: Child,
    log: PathBuf,
}

impl Drop for Host {
    fn drop(&mut self) {
        // They may have ended already; either way nothing is left of them.
        for child in [&mut self.child, &mut self.guard] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All hosts. A slot holds one process after another; each process has a number of its own.
pub struct Fleet {
    folder: PathBuf,
    bootstrap: String,
    ports: Vec<u16>,
    protocol: Protocol,
    equipment: Equipment,
    slots: BTreeMap<usize, Host>,
    /// The digests of the components that were given out: dead letters name their host by its component.
    digests: Vec<(String, u32)>,
    /// The logs of all processes, by their numbers.
    logs: Vec<PathBuf>,
}

impl Fleet {
    /// Hosts on these brokers, with admin ports by slot; none is started.
    ///
    /// # Errors
    /// When the component is not built, or is not one that names its host.
    pub fn new(
        folder: PathBuf,
        bootstrap: String,
        ports: Vec<u16>,
        protocol: Protocol,
        equipment: Equipment,
    ) -> Result<Self> {
        let marks = equipment.component.windows(MARK.len()).filter(|bytes| *bytes == MARK).count();
        ensure!(marks == 1, "the component has {marks} places for its host's number, not 1");
        Ok(Self {
            folder,
            bootstrap,
            ports,
            protocol,
            equipment,
            slots: BTreeMap::new(),
            digests: Vec::new(),
            logs: Vec::new(),
        })
    }

    /// Starts a host in a slot that has none and answers its number.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&mut self, slot: usize) -> Result<u32> {
        ensure!(!self.slots.contains_key(&slot), "the slot {slot} has a host");
        let number = u32::try_from(self.digests.len())? + 1;
        let folder = self.folder.join(format!("host-{slot}-{number}"));
        std::fs::create_dir_all(folder.join(HANDLER))?;
        let component = self.component_of(number);
        let digest = Sha256::digest(&component).iter().fold(String::new(), |mut text, byte| {
            // Writing to a text cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        std::fs::write(folder.join(HANDLER).join("witness.wasm"), component)?;
        std::fs::write(folder.join(HANDLER).join("handler.toml"), &self.equipment.manifest)?;
        if let Some(migration) = &self.equipment.migration {
            std::fs::create_dir_all(folder.join(HANDLER).join("migrations"))?;
            std::fs::write(folder.join(HANDLER).join("migrations/0001_ledger.sql"), migration)?;
        }
        std::fs::write(folder.join("keylane.toml"), self.host_file(slot)?)?;
        let log = folder.join("host.log");
        let file = File::create(&log)?;
        let child = Command::new(place::keylane()?)
            .args(["--log-format", "json", "host", "--config"])
            .arg(folder.join("keylane.toml"))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let guard = guard(child.id())?;
        self.digests.push((digest, number));
        self.logs.push(log.clone());
        self.slots.insert(slot, Host { number, child, guard, log });
        Ok(number)
    }

    /// The number of the process in a slot.
    #[must_use]
    pub fn number(&self, slot: usize) -> Option<u32> {
        Some(self.slots.get(&slot)?.number)
    }

    /// The process id of the host in a slot.
    #[must_use]
    pub fn process(&self, slot: usize) -> Option<u32> {
        Some(self.slots.get(&slot)?.child.id())
    }

    /// Whether the host in a slot says that it is ready.
    #[must_use]
    pub fn is_ready(&self, slot: usize) -> bool {
        let port = self.ports.get(slot).filter(|_| self.slots.contains_key(&slot));
        port.is_some_and(|port| is_ready(*port).unwrap_or(false))
    }

    /// Whether the host in a slot says that it relays; none where it does not answer.
    #[must_use]
    pub fn relays(&self, slot: usize) -> Option<bool> {
        let port = self.ports.get(slot).filter(|_| self.slots.contains_key(&slot))?;
        let metrics = answer(*port, "/metrics").ok()?;
        Some(metrics.lines().any(|line| line.starts_with(RELAYS) && line.ends_with(" 1")))
    }

    /// SIGKILL; it is gone when this returns. Answers its number.
    ///
    /// # Errors
    /// When it had ended before: then nothing was interrupted.
    pub fn kill(&mut self, slot: usize) -> Result<u32> {
        let mut host = self.slots.remove(&slot).context("no host to kill")?;
        ensure!(
            host.child.try_wait()?.is_none(),
            "it had ended before it was killed: {}",
            host.log.display()
        );
        host.child.kill()?;
        host.child.wait()?;
        Ok(host.number)
    }

    /// Sends a signal, such as `STOP`.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub fn signal(&mut self, slot: usize, signal: &str) -> Result<()> {
        let host = self.slots.get_mut(&slot).context("no host to signal")?;
        // A child that was not waited for keeps its id, so this reaches nobody else.
        ensure!(host.child.try_wait()?.is_none(), "it had ended by itself: {}", host.log.display());
        keylane_test_support::signal(host.child.id(), signal)
    }

    /// The status of a host that has ended; it leaves its slot then.
    ///
    /// # Errors
    /// When its status cannot be had.
    pub fn ended(&mut self, slot: usize) -> Result<Option<ExitStatus>> {
        let host = self.slots.get_mut(&slot).context("no host to wait for")?;
        let status = host.child.try_wait()?;
        if status.is_some() {
            self.slots.remove(&slot);
        }
        Ok(status)
    }

    /// Waits until every host says that it is ready.
    ///
    /// # Errors
    /// When one does not, or has ended.
    pub fn until_ready(&mut self, limit: Duration) -> Result<()> {
        for (slot, host) in &mut self.slots {
            let port = *self.ports.get(*slot).context("no such slot")?;
            let ready = waiting::until("/readyz answers 200", limit, || {
                if let Some(status) = host.child.try_wait()? {
                    bail!("it ended by itself with {status}");
                }
                Ok(is_ready(port).unwrap_or(false).then_some(()))
            });
            ready.with_context(|| format!("host {}: {}", host.number, host.log.display()))?;
        }
        Ok(())
    }

    /// Which host a dead letter's revision names.
    #[must_use]
    pub fn host_of_revision(&self, revision: &[u8]) -> Option<u32> {
        let revision = std::str::from_utf8(revision).ok().filter(|revision| !revision.is_empty())?;
        self.digests.iter().find(|(digest, _)| digest.starts_with(revision)).map(|(_, number)| *number)
    }

    /// What all hosts, the ended ones too, say of partitions that they lost.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn losses(&self) -> Result<Vec<Loss>> {
        let mut losses = Vec::new();
        for (number, log) in self.logs() {
            losses.extend(losses::of_log(number, log)?);
        }
        Ok(losses)
    }

    /// The logs of all hosts, of the ended ones too.
    pub fn logs(&self) -> impl Iterator<Item = (u32, &Path)> {
        (1..).zip(self.logs.iter().map(PathBuf::as_path))
    }

    fn component_of(&self, number: u32) -> Vec<u8> {
        let mut component = self.equipment.component.clone();
        let digits = format!("{number:08}");
        let at = component.windows(MARK.len()).position(|bytes| bytes == MARK).unwrap_or(0) + MARK.len();
        let place = component.get_mut(at - digits.len()..at).into_iter().flatten();
        place.zip(digits.bytes()).for_each(|(byte, digit)| *byte = digit);
        component
    }

    fn host_file(&self, slot: usize) -> Result<String> {
        let brokers: Vec<_> = self.bootstrap.split(',').map(|broker| format!("{broker:?}")).collect();
        let port = self.ports.get(slot).context("no such slot")?;
        let protocol = match self.protocol {
            Protocol::Classic => "classic",
            Protocol::Consumer => "consumer",
        };
        Ok(format!(
            "fleet = \"chaos\"\nhandlers = [\"{HANDLER}/handler.toml\"]\n\n\
             [kafka]\nbrokers = [{}]\ngroup-protocol = \"{protocol}\"\nsession-timeout = \"{SESSION_MS}ms\"\n\n\
             [limits]\npartition-records = 500\n\n[admin]\nlisten = \"127.0.0.1:{port}\"\n{}",
            brokers.join(", "),
            self.equipment.host_file,
        ))
    }
}

/// A process of its own group: what ends this program from a terminal does not end the guard.
fn guard(host: u32) -> Result<Child> {
    let ids = [std::process::id().to_string(), host.to_string()];
    let mut command = Command::new("sh");
    command.args(["-c", GUARD, "guard"]).args(ids).process_group(0);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

fn is_ready(port: u16) -> Result<bool> {
    Ok(answer(port, "/readyz")?.split(' ').nth(1) == Some("200"))
}

/// What the admin port answers, with its head.
fn answer(port: u16, path: &str) -> Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
