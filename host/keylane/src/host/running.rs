//! A host at work: its handlers, from their start (`starting.rs`) to the last commit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keylane_effects::{Database, Relay};
use keylane_engine::{Tally, Totals};
use keylane_kafka::Intake;
use tokio::task::JoinSet;

use super::board::{Board, Posted};
use super::phase::Phase;
use super::rooms::Rooms;
use super::starting;
use crate::config::HostConfig;

/// A host whose handlers run, but for those that wait for their databases or are being started.
pub(crate) struct Host {
    board: Board,
    handlers: Arc<Handlers>,
    /// Handlers that come later.
    late: JoinSet<()>,
    drain: Duration,
}

/// Handlers that run, by their place in the host file.
#[derive(Default)]
pub(super) struct Handlers(Mutex<BTreeMap<usize, Running>>);

/// One handler at work.
pub(super) struct Running {
    pub(super) name: String,
    pub(super) intake: Intake,
    pub(super) tally: Arc<Tally>,
    /// What it writes to, with its outbox.
    pub(super) database: Option<Arc<dyn Database>>,
    pub(super) relay: Option<Relay>,
}

impl Handlers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<usize, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more runs, which has this place.
    pub(super) fn put_up(&self, board: &Board, place: usize, running: Running) {
        let posted = running.posted();
        self.all().insert(place, running);
        board.put_up(place, posted);
    }
}

impl Host {
    /// A host of which nothing runs yet.
    pub(crate) fn new(config: &HostConfig, board: Board) -> Self {
        Self { board, handlers: Arc::default(), late: JoinSet::new(), drain: config.limits.drain }
    }

    /// Starts every handler of the host file. Waits for brokers as long as it takes, so that a host and its
    /// Kafka may come up in any order. A handler whose databases do not answer, or where migrations run for long, is
    /// started later. May be dropped at any time, and may fail, while some handlers run already: [`Self::stop`] ends
    /// those as any others.
    ///
    /// # Errors
    /// What a person has to change: an unknown topic, a component or a database that cannot be used.
    pub(crate) async fn start(&mut self, config: &HostConfig) -> anyhow::Result<()> {
        let rooms = Arc::new(Rooms::open(config)?);
        starting::start_all(rooms, self.board.clone(), self.handlers.clone(), &mut self.late).await?;
        tokio::spawn(self.board.clone().follow());
        Ok(())
    }

    /// What became of each handler's events, by the handler's name.
    pub(crate) fn tallies(&self) -> Vec<(String, Totals)> {
        self.handlers.all().values().map(|running| (running.name.clone(), running.tally.totals())).collect()
    }

    /// Records that no handler has ended yet, of all handlers together; none while one does not know, or does not
    /// run yet.
    pub(crate) fn lag(&self) -> Option<u64> {
        if self.board.is_waiting() {
            return None;
        }
        self.handlers.all().values().map(|running| running.intake.lag()).sum()
    }

    /// Records and mails that wait in the handlers' outboxes.
    ///
    /// # Errors
    /// When a database does not answer.
    pub(crate) async fn unsent(&self) -> anyhow::Result<u64> {
        let mut unsent = 0;
        let databases: Vec<_> =
            self.handlers.all().values().filter_map(|running| running.database.clone()).collect();
        for database in databases {
            let counts = database.outbox().counts().await?;
            unsent += counts.records + counts.mails;
        }
        Ok(unsent)
    }

    /// Drains all handlers at once, commits, and leaves their groups. Answers whether everything that ran
    /// was finished and committed.
    pub(crate) async fn stop(mut self) -> bool {
        self.board.life().advance(Phase::Draining);
        // Before the others, so that none begins behind them.
        self.late.shutdown().await;
        let drain = self.drain;
        let handlers = std::mem::take(&mut *self.handlers.all());
        let farewells = handlers.into_values().map(async |running| {
            let farewell = running.intake.stop(drain).await;
            if let Some(relay) = running.relay {
                relay.stop().await;
            }
            let well = farewell.drained && farewell.committed;
            if !well {
                let (drained, committed) = (farewell.drained, farewell.committed);
                tracing::warn!(
                    handler = running.name,
                    drained,
                    committed,
                    "not everything was finished; it will be repeated"
                );
            }
            well
        });
        let well = futures::future::join_all(farewells).await.into_iter().all(|well| well);
        self.board.life().advance(Phase::Stopped);
        well
    }
}

impl Running {
    fn posted(&self) -> Posted {
        let intake = &self.intake;
        let (health, looker, pulse) = (intake.health(), intake.looker(), intake.pulse());
        let relay = self.relay.as_ref().map(Relay::status);
        Posted { name: self.name.clone(), health, looker, pulse, relay }
    }
}
