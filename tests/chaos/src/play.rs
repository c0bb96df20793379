//! Plays a round: writes, and does to hosts and brokers what the plan says, until all of it is healed.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::faults::Deed;
use crate::fleet::INPUT;
use crate::plan::{Fault, GUEST_SLOT, Plan, Which};
use crate::report::say;
use crate::samples::Sampler;
use crate::stage::{HEAL_LIMIT, Stage};
use crate::traffic::{self, Acknowledged};

/// Time between two looks at what is due.
const TICK: Duration = Duration::from_millis(50);

/// Time until a look whether partitions were added, and another try if not. A broker comes back meanwhile.
const ADD_AGAIN_MS: u64 = 500;

/// What a round was.
pub struct Played {
    /// What was written.
    pub written: Acknowledged,
    /// What went wrong with hosts that were told to end.
    pub findings: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, Copy)]
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
    findings: Vec<String>,
}

/// Plays it, with values from this number on, and waits until every fault is healed.
///
/// # Errors
/// When a step cannot be done or something does not heal.
pub fn play(stage: &mut Stage, sampler: &Sampler, plan: &Plan, first_id: u64) -> Result<Played> {
    let (bootstrap, writes) = (stage.cluster.bootstrap(), plan.clone());
    let traffic = std::thread::spawn(move || traffic::write(&bootstrap, &writes, first_id));
    let mut player = Player {
        stage,
        sampler,
        begun: Instant::now(),
        due: steps(plan),
        leaving: Vec::new(),
        broker: None,
        findings: Vec::new(),
    };
    let played = player.run();
    let findings = std::mem::take(&mut player.findings);
    let written = traffic.join().map_err(|_| anyhow!("the producer panicked"))?;
    played?;
    Ok(Played { written: written.context("the producer")?, findings })
}

fn steps(plan: &Plan) -> Vec<(u64, Act)> {
    let steps = plan.faults.iter().flat_map(|planned| {
        let at = planned.at_ms;
        match planned.fault {
            Fault::KillHost { slot, away_ms } => {
                vec![(at, Act::KillHost(slot)), (at + away_ms, Act::StartHost(slot))]
            }
            Fault::StopHost { slot, for_ms } => {
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
        while !(self.due.is_empty() && self.leaving.is_empty() && self.broker.is_none()) {
            let limit = Duration::from_millis(last_ms) + HEAL_LIMIT;
            ensure!(self.begun.elapsed() < limit, "the faults are not healed after {limit:?}");
            let now_ms = self.now_ms();
            while let Some((_, act)) = self.due.pop_if(|(at, _)| *at <= now_ms) {
                self.act(act).with_context(|| format!("{act:?}"))?;
            }
            self.look_at_the_leaving()?;
            self.look_at_the_broker()?;
            std::thread::sleep(TICK);
        }
        Ok(())
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
        say(&format!("    {:>5.1} s  {act:?}", self.begun.elapsed().as_secs_f64()));
        match act {
            Act::KillHost(slot) => {
                let number = self.stage.fleet.kill(slot)?;
                self.stage.log.happens(Deed::KilledHost(number));
            }
            Act::StartHost(slot) => self.stage.start_host(slot)?,
            Act::StopHost(slot) => {
                // It begins in the log before it does in truth, and ends after.
                self.stage.log.begins(Deed::StoppedHost(self.number(slot)?));
                self.stage.fleet.signal(slot, "STOP")?;
            }
            Act::ContinueHost(slot) => {
                self.stage.fleet.signal(slot, "CONT")?;
                let number = self.number(slot)?;
                self.stage.log.ends(Deed::StoppedHost(number));
            }
            Act::EndHost(slot, away_ms) => {
                let number = self.number(slot)?;
                self.stage.log.begins(Deed::EndedHost(number));
                self.stage.fleet.signal(slot, "TERM")?;
                self.leaving.push(Leaving { slot, number, away_ms });
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

    fn look_at_the_leaving(&mut self) -> Result<()> {
        for leaving in std::mem::take(&mut self.leaving) {
            let Some(status) = self.stage.fleet.ended(leaving.slot)? else {
                self.leaving.push(leaving);
                continue;
            };
            let (number, deed) = (leaving.number, Deed::EndedHost(leaving.number));
            self.stage.log.ends(deed);
            // It says so itself when its last progress is not committed, as it may be without a coordinator.
            if status.code() == Some(1) && self.stage.log.is_amid_a_brokers_death(deed) {
                say(&format!(
                    "    host {number} left amid a broker's death, its last progress not committed"
                ));
            } else if !status.success() {
                self.findings.push(format!("host {number} ended with {status} after SIGTERM"));
            }
            if let Some(away_ms) = leaving.away_ms {
                self.later(away_ms, Act::StartHost(leaving.slot));
            }
        }
        Ok(())
    }

    fn look_at_the_broker(&mut self) -> Result<()> {
        match self.broker.take() {
            Some(Broker::Starting(broker, thread)) if thread.is_finished() => {
                thread.join().map_err(|_| anyhow!("the broker's start panicked"))??;
                self.broker = Some(Broker::CatchingUp(broker));
            }
            // Brokers that are just elected do not answer: the next look counts.
            Some(Broker::CatchingUp(broker)) => match self.stage.onlooker.is_in_sync() {
                Ok(true) => self.stage.log.ends(Deed::KilledBroker(broker)),
                _ => self.broker = Some(Broker::CatchingUp(broker)),
            },
            other => self.broker = other,
        }
        Ok(())
    }
}
