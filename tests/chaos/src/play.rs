//! Plays a round: writes, and does to hosts and brokers what the plan says, until all of it is healed.

mod healing;
mod hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::faults::{Deed, Entry};
use crate::fleet::INPUT;
use crate::given_up::Stood;
use crate::plan::{Fault, GUEST_SLOT, HOSTS, Plan, Which};
use crate::report::say;
use crate::samples::Sampler;
use crate::stage::{HEAL_LIMIT, Stage};
use crate::traffic::{self, Told};

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(50);

/// Time until a look whether partitions were added, and another try if not. A broker comes back meanwhile.
const ADD_AGAIN_MS: u64 = 500;
/// Time until another look for a host that relays, where none did or it had trouble enough.
const RELAY_AGAIN_MS: u64 = 250;

/// What a round was.
pub struct Played {
    /// What was written.
    pub told: Told,
    /// What went wrong with hosts that were told to end.
    pub findings: Vec<String>,
    /// What was done.
    pub deeds: Vec<Entry>,
    /// Which hosts stood still, and what others pruned meanwhile.
    pub stood: Vec<Stood>,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    KillHost(usize),
    StartHost(usize),
    StopHost(usize),
    ContinueHost(usize),
    /// SIGTERM; once it has ended it is started again after so many milliseconds, if at all.
    EndHost(usize, Option<u64>),
    /// Killed, and started again after so many milliseconds.
    KillBroker(Which, u64),
    StartBroker(i32),
    AddPartitions,
    /// The host that relays is killed, and started again after so many milliseconds.
    KillRelay(u64),
    /// The host that relays stands still for so many milliseconds.
    StopRelay(u64),
    /// Killed, in the middle of commits or not, and started again after so many milliseconds.
    KillDatabase(bool, u64),
    StartDatabase,
    DeleteOffsets,
}

impl Act {
    /// Whose host it concerns.
    fn slot(self) -> Option<usize> {
        match self {
            Self::KillHost(slot)
            | Self::StartHost(slot)
            | Self::StopHost(slot)
            | Self::ContinueHost(slot)
            | Self::EndHost(slot, _) => Some(slot),
            _ => None,
        }
    }
}

/// A host that was told to end.
struct Leaving {
    slot: usize,
    number: u32,
    away_ms: Option<u64>,
}

/// A broker on its way back.
enum Broker {
    Away,
    Starting(i32, JoinHandle<Result<()>>),
    CatchingUp(i32),
}

struct Player<'a> {
    stage: &'a mut Stage,
    sampler: &'a Sampler,
    begun: Instant,
    due: Vec<(u64, Act)>,
    leaving: Vec<Leaving>,
    broker: Option<Broker>,
    /// A database's server on its way back.
    database: Option<JoinHandle<Result<()>>>,
    /// Whether the hosts end so that what they have committed can be deleted; and why it was not so far.
    deletes: Option<String>,
    /// Slots whose host is away, stands still or ends.
    down: BTreeSet<usize>,
    /// Where the floors were when each slot's host began to stand still.
    floors: BTreeMap<usize, BTreeMap<i32, i64>>,
    stood: Vec<Stood>,
    findings: Vec<String>,
}

/// Plays it, with values from this number on, and waits until every fault is healed.
///
/// # Errors
/// When a step cannot be done or something does not heal.
pub fn play(stage: &mut Stage, sampler: &Sampler, plan: &Plan, first_id: u64) -> Result<Played> {
    let (bootstrap, writes) = (stage.cluster.bootstrap(), plan.clone());
    let traffic = std::thread::spawn(move || traffic::write(&bootstrap, &writes, first_id));
    let deeds = stage.log.entries.len();
    let mut player = Player {
        stage,
        sampler,
        begun: Instant::now(),
        due: steps(plan),
        leaving: Vec::new(),
        broker: None,
        database: None,
        deletes: None,
        down: BTreeSet::new(),
        floors: BTreeMap::new(),
        stood: Vec::new(),
        findings: Vec::new(),
    };
    let played = player.run();
    let findings = std::mem::take(&mut player.findings);
    let stood = std::mem::take(&mut player.stood);
    let deeds = player.stage.log.entries.iter().skip(deeds).copied().collect();
    let told = traffic.join().map_err(|_| anyhow!("the producer panicked"))?;
    played?;
    Ok(Played { told: told.context("the producer")?, findings, deeds, stood })
}

fn steps(plan: &Plan) -> Vec<(u64, Act)> {
    let steps = plan.faults.iter().flat_map(|planned| {
        let at = planned.at_ms;
        match planned.fault {
            Fault::KillHost { slot, away_ms } => {
                vec![(at, Act::KillHost(slot)), (at + away_ms, Act::StartHost(slot))]
            }
            Fault::StopHost { slot, for_ms } | Fault::StopPastPruning { slot, for_ms } => {
                vec![(at, Act::StopHost(slot)), (at + for_ms, Act::ContinueHost(slot))]
            }
            Fault::KillBroker { which, away_ms } => vec![(at, Act::KillBroker(which, away_ms))],
            Fault::Join { for_ms } => {
                vec![(at, Act::StartHost(GUEST_SLOT)), (at + for_ms, Act::EndHost(GUEST_SLOT, None))]
            }
            Fault::Leave { slot, away_ms } => vec![(at, Act::EndHost(slot, Some(away_ms)))],
            // The producer's own.
            Fault::Trouble { .. } => Vec::new(),
            Fault::AddPartitions => vec![(at, Act::AddPartitions)],
            Fault::KillRelay { away_ms } => vec![(at, Act::KillRelay(away_ms))],
            Fault::StopRelay { for_ms } => vec![(at, Act::StopRelay(for_ms))],
            Fault::KillDatabase { amid_commits, away_ms } => {
                vec![(at, Act::KillDatabase(amid_commits, away_ms))]
            }
            Fault::DeleteOffsets => vec![(at, Act::DeleteOffsets)],
        }
    });
    let mut steps: Vec<_> = steps.collect();
    // The next one is taken from the end.
    steps.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    steps
}

impl Player<'_> {
    fn run(&mut self) -> Result<()> {
        let last_ms = self.due.first().map_or(0, |(at, _)| *at);
        while !(self.due.is_empty() && self.is_healed()) {
            let limit = Duration::from_millis(last_ms) + HEAL_LIMIT;
            ensure!(self.begun.elapsed() < limit, "after {limit:?} there is still: {}", self.left());
            let now_ms = self.now_ms();
            while let Some((_, act)) = self.due.pop_if(|(at, _)| *at <= now_ms) {
                self.act(act).with_context(|| format!("{act:?}"))?;
            }
            self.look_at_the_leaving()?;
            self.look_at_the_broker()?;
            self.look_at_the_database()?;
            self.look_at_the_deletion()?;
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// Whether all that began is over.
    fn is_healed(&self) -> bool {
        self.leaving.is_empty() && self.broker.is_none() && self.database.is_none() && self.deletes.is_none()
    }

    /// What is not over, for people.
    fn left(&self) -> String {
        let mut left: Vec<String> = self.due.iter().map(|(_, act)| format!("{act:?} to do")).collect();
        left.extend(self.leaving.iter().map(|leaving| format!("host {} to end", leaving.number)));
        left.extend(self.broker.iter().map(|_| "a broker to come back".to_owned()));
        left.extend(self.database.iter().map(|_| "the database to come back".to_owned()));
        left.extend(self.deletes.iter().map(|reason| format!("offsets to delete: {reason}")));
        left.join(", ")
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Something has to be done after so many milliseconds.
    fn later(&mut self, after_ms: u64, act: Act) {
        self.due.push((self.now_ms() + after_ms, act));
        self.due.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    fn act(&mut self, act: Act) -> Result<()> {
        if self.has_to_wait(act) {
            self.later(RELAY_AGAIN_MS, act);
            return Ok(());
        }
        if !matches!(act, Act::KillRelay(_) | Act::StopRelay(_)) {
            say(&format!("    {:>5.1} s  {act:?}", self.begun.elapsed().as_secs_f64()));
        }
        match act {
            Act::KillRelay(ms) | Act::StopRelay(ms) => self.harm_the_relay(act, ms)?,
            Act::KillHost(slot) => self.kill_host(slot)?,
            Act::StartHost(slot) => {
                self.stage.start_host(slot)?;
                self.down.remove(&slot);
            }
            Act::StopHost(slot) => self.stop_host(slot)?,
            Act::ContinueHost(slot) => self.continue_host(slot)?,
            Act::EndHost(slot, away_ms) => {
                self.down.insert(slot);
                let number = self.number(slot)?;
                self.stage.log.begins(Deed::EndedHost(number));
                self.stage.fleet.signal(slot, "TERM")?;
                self.leaving.push(Leaving { slot, number, away_ms });
            }
            Act::KillDatabase(amid_commits, away_ms) => {
                self.stage.log.begins(Deed::KilledDatabase);
                let ledger = self.stage.ledger()?;
                if amid_commits {
                    ledger.crash()?
                } else {
                    ledger.kill()?
                }
                self.later(away_ms, Act::StartDatabase);
            }
            Act::StartDatabase => {
                let restart = self.stage.ledger()?.restart()?;
                self.database = Some(std::thread::spawn(restart));
            }
            Act::DeleteOffsets => {
                self.deletes = Some("not asked yet".to_owned());
                for slot in 0..HOSTS {
                    self.act(Act::EndHost(slot, None))?;
                }
            }
            Act::KillBroker(which, away_ms) => self.kill_broker(which, away_ms)?,
            Act::StartBroker(broker) => {
                let restart = self.stage.cluster.restart(broker);
                self.broker = Some(Broker::Starting(broker, std::thread::spawn(restart)));
            }
            Act::AddPartitions if self.stage.add_partitions(self.sampler)? => {}
            Act::AddPartitions => self.later(ADD_AGAIN_MS, act),
        }
        Ok(())
    }

    /// The offsets are deleted last, a database is killed again only when it is back, and a host that has only just
    /// begun does not know SIGTERM yet.
    fn has_to_wait(&self, act: Act) -> bool {
        match act {
            Act::DeleteOffsets => {
                let is_calm = self.due.is_empty() && self.is_healed() && self.down.is_empty();
                !(is_calm && (0..HOSTS).all(|slot| self.stage.fleet.is_ready(slot)))
            }
            Act::EndHost(slot, _) => self.stage.fleet.relays(slot).is_none(),
            Act::KillDatabase(..) => {
                let away = self.due.iter().any(|(_, act)| matches!(act, Act::StartDatabase));
                away || self.database.is_some()
            }
            _ => false,
        }
    }

    fn number(&self, slot: usize) -> Result<u32> {
        self.stage.fleet.number(slot).context("no host in this slot")
    }

    fn kill_broker(&mut self, which: Which, away_ms: u64) -> Result<()> {
        let broker = match which {
            Which::LeadsMost => self.stage.onlooker.leads_most(INPUT)?,
            Which::Coordinates => self.stage.onlooker.coordinator()?,
        };
        self.stage.log.begins(Deed::KilledBroker(broker));
        self.stage.cluster.kill(broker)?;
        self.broker = Some(Broker::Away);
        self.later(away_ms, Act::StartBroker(broker));
        Ok(())
    }
}
