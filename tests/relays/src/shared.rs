//! What all hosts of a world share: the database, Kafka, the mail server, and how each of them fares now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use keylane_sim::{Draw, HostClock};

use crate::broker::Broker;
use crate::mistake::Mistake;
use crate::plan::{Plan, STEP_MS_MAX};
use crate::table::Table;

/// How a server fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    #[default]
    Well,
    /// Some requests or their answers get lost.
    Shaky,
    /// Everything takes long, longer than a lease now and then.
    Slow,
    /// Nothing is done and nothing is answered.
    Away,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It gets lost.
    Lost,
    /// It is done, and nobody hears of it.
    Unheard,
}

/// Everything outside the hosts.
pub struct Shared {
    pub table: Table,
    pub broker: Broker,
    /// How often each mail was taken, by its Message-ID.
    pub mails: BTreeMap<String, u32>,
    pub database: Health,
    pub kafka: Health,
    pub mail_server: Health,
    pub mistake: Option<Mistake>,
    /// The database was set back or reset: whose the lease is says nothing of who may work.
    pub is_unsettled: bool,
    /// A mail was begun by a host that had the lease no more.
    pub foreign_mail: Option<String>,
    draw: Draw,
    /// Hosts that have come to where they are to be stopped, and for how long.
    pub stops: Vec<(usize, u64)>,
    /// What was reached how often.
    pub seen: BTreeMap<&'static str, u64>,
    /// What happened, for people.
    pub trace: Vec<String>,
}

impl Shared {
    pub fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        Self {
            table: Table::new(seed),
            broker: Broker::default(),
            mails: BTreeMap::new(),
            database: Health::default(),
            kafka: Health::default(),
            mail_server: Health::default(),
            mistake,
            is_unsettled: false,
            foreign_mail: None,
            draw: Draw::of(&[seed, 2]),
            stops: Vec::new(),
            seen: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    pub fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    pub fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    pub fn note(&mut self, now_ms: u64, what: impl Into<String>) {
        self.trace.push(format!("{now_ms:>8} {}", what.into()));
    }

    fn fate(&mut self, health: Health) -> Fate {
        match health {
            Health::Well | Health::Slow => Fate::Done,
            Health::Away => Fate::Lost,
            Health::Shaky => match self.draw.below(6) {
                0 => Fate::Lost,
                1 => Fate::Unheard,
                _ => Fate::Done,
            },
        }
    }
}

/// A process is to be stopped at one of its next requests.
#[derive(Debug, Clone, Copy)]
struct Trap {
    /// Requests before that one.
    left: u64,
    for_ms: u64,
    /// When the request has been carried out, or before.
    after: bool,
}

/// One process's way to all of it.
#[derive(Clone)]
pub struct Link {
    pub host: usize,
    pub clock: Arc<HostClock>,
    shared: Arc<Mutex<Shared>>,
    draw: Arc<Mutex<Draw>>,
    /// The longest way to a server that is slow.
    slow_ms: u64,
    trap: Arc<Mutex<Option<Trap>>>,
}

impl Link {
    /// Of the process that a host is now; each life draws for itself.
    pub fn new(
        (host, life): (usize, u64),
        plan: &Plan,
        clock: Arc<HostClock>,
        shared: Arc<Mutex<Shared>>,
    ) -> Self {
        let draw = Arc::new(Mutex::new(Draw::of(&[plan.seed, 3, host as u64, life])));
        let slow_ms = 2 * plan.lease_ms;
        Self { host, clock, shared, draw, slow_ms, trap: Arc::default() }
    }

    /// Stops the process at its request with this number from now on.
    pub fn stop_at(&self, requests: u64, for_ms: u64) {
        let after = self.draw.lock().unwrap().permille(500);
        *self.trap.lock().unwrap() = Some(Trap { left: requests, for_ms, after });
    }

    /// Whether this is the request at which the process is to be stopped.
    fn spring(&self) -> Option<Trap> {
        let mut trap = self.trap.lock().unwrap();
        match trap.as_mut() {
            Some(one) if one.left > 0 => {
                one.left -= 1;
                None
            }
            _ => trap.take(),
        }
    }

    /// The world stops the process when its turn is over; until then this request stands still.
    async fn stand_still(&self, trap: Trap) {
        {
            let mut shared = self.shared();
            shared.stops.push((self.host, trap.for_ms));
            shared.saw("stopped amid a request");
        }
        tokio::time::sleep(Duration::from_millis(STEP_MS_MAX + 1)).await;
    }

    /// Takes as long as a message does; the process may be stopped or killed meanwhile.
    pub async fn travel(&self) {
        let ms = self.draw.lock().unwrap().skewed(40, 2);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    pub fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// A request to the database, carried out at once when it arrives. None where the answer gets lost.
    pub async fn ask_database<T>(&self, act: impl FnOnce(&mut Shared, u64) -> T) -> Option<T> {
        self.ask(|shared| shared.database, act).await
    }

    /// A request to Kafka.
    pub async fn ask_kafka<T>(&self, act: impl FnOnce(&mut Shared, u64) -> T) -> Option<T> {
        self.ask(|shared| shared.kafka, act).await
    }

    /// A request to the mail server.
    pub async fn ask_mail_server<T>(&self, act: impl FnOnce(&mut Shared, u64) -> T) -> Option<T> {
        self.ask(|shared| shared.mail_server, act).await
    }

    async fn ask<T>(&self, of: fn(&Shared) -> Health, act: impl FnOnce(&mut Shared, u64) -> T) -> Option<T> {
        let trap = self.spring();
        if let Some(trap) = trap.filter(|trap| !trap.after) {
            self.stand_still(trap).await;
        }
        self.travel().await;
        if of(&self.shared()) == Health::Slow {
            let ms = self.draw.lock().unwrap().skewed(self.slow_ms, 1);
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        let answer = {
            let mut shared = self.shared();
            let health = of(&shared);
            let now_ms = self.clock.now_ms();
            match shared.fate(health) {
                Fate::Lost => None,
                Fate::Unheard => {
                    let _unheard = act(&mut shared, now_ms);
                    shared.saw("answer lost");
                    None
                }
                Fate::Done => Some(act(&mut shared, now_ms)),
            }
        };
        if let Some(trap) = trap.filter(|trap| trap.after) {
            self.stand_still(trap).await;
        }
        self.travel().await;
        answer
    }
}
