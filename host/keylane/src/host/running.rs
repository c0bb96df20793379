//! A host at work: its handlers, from the first look at the brokers to the last commit.
//!
//! Who owns: the host, its handlers; a task for each handler whose databases were away when the host started, what
//! that has opened, until its handler runs. Who waits: such a task, for its databases. What bounds: the handlers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keylane_effects::{Database, Relay};
use keylane_engine::{Tally, Totals};
use keylane_kafka::Intake;
use tokio::task::JoinSet;

use super::board::{Board, Posted};
use super::databases::{self, Asked};
use super::phase::Phase;
use super::rooms::Rooms;
use crate::config::{Handler, HostConfig};

/// A host whose handlers run, but for those that wait for their databases.
pub(crate) struct Host {
    board: Board,
    handlers: Arc<Handlers>,
    /// Handlers that come later.
    late: JoinSet<()>,
    drain: Duration,
}

/// Handlers that run, in the order in which they began to.
#[derive(Default)]
struct Handlers(Mutex<Vec<Running>>);

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
    fn all(&self) -> MutexGuard<'_, Vec<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Starts every handler of the host file. Waits for brokers as long as it takes, so that a host and its
    /// Kafka may come up in any order; may be dropped at any time. A handler whose databases do not answer is
    /// started later, when they do.
    ///
    /// # Errors
    /// What a person has to change: an unknown topic, a component or a database that cannot be used.
    pub(crate) async fn start(config: &HostConfig, board: Board) -> anyhow::Result<Self> {
        let rooms = Arc::new(Rooms::open(config)?);
        let (mut ready, mut away) = (Vec::new(), Vec::new());
        for (place, asked) in databases::ask_all(&config.handlers).await?.into_iter().enumerate() {
            let Some(handler) = config.handlers.get(place) else { continue };
            match asked {
                Asked::Open(opened) => {
                    rooms.keep(handler, opened);
                    ready.push((place, handler));
                }
                Asked::Away(why) => {
                    board.waits_for(&handler.manifest.name, why);
                    away.push((place, handler.clone()));
                }
            }
        }
        let mut revisions = Vec::new();
        for (_, handler) in &ready {
            revisions.push(rooms.load(handler).await?);
        }
        rooms.check_topics().await?;
        let mut handlers = Vec::new();
        for ((place, handler), revision) in ready.into_iter().zip(&revisions) {
            handlers.push((place, rooms.start(handler, revision).await?));
        }
        for (place, running) in &handlers {
            board.put_up(*place, running.posted());
        }
        let handlers: Vec<Running> = handlers.into_iter().map(|(_, running)| running).collect();
        let handlers = Arc::new(Handlers(Mutex::new(handlers)));
        let mut late = JoinSet::new();
        for (place, handler) in away {
            late.spawn(start_later(rooms.clone(), board.clone(), handlers.clone(), (place, handler)));
        }
        tokio::spawn(board.clone().follow());
        Ok(Self { board, handlers, late, drain: config.limits.drain })
    }

    /// What became of each handler's events, by the handler's name.
    pub(crate) fn tallies(&self) -> Vec<(String, Totals)> {
        self.handlers.all().iter().map(|running| (running.name.clone(), running.tally.totals())).collect()
    }

    /// Records that no handler has ended yet, of all handlers together; none while one does not know, or does not
    /// run yet.
    pub(crate) fn lag(&self) -> Option<u64> {
        if self.board.is_waiting() {
            return None;
        }
        self.handlers.all().iter().map(|running| running.intake.lag()).sum()
    }

    /// Records and mails that wait in the handlers' outboxes.
    ///
    /// # Errors
    /// When a database does not answer.
    pub(crate) async fn unsent(&self) -> anyhow::Result<u64> {
        let mut unsent = 0;
        let databases: Vec<_> =
            self.handlers.all().iter().filter_map(|running| running.database.clone()).collect();
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
        let farewells = handlers.into_iter().map(async |running| {
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

/// Starts a handler when its databases answer. What a person has to change is told, and keeps this handler alone
/// from running.
async fn start_later(
    rooms: Arc<Rooms>,
    board: Board,
    handlers: Arc<Handlers>,
    (place, handler): (usize, Handler),
) {
    let name = &handler.manifest.name;
    let starting = async {
        let opened = databases::until_open(&handler, |why| board.waits_for(name, why)).await?;
        rooms.keep(&handler, opened);
        board.waits_for(name, "its databases answer; it is being started".to_owned());
        let revision = rooms.load(&handler).await?;
        rooms.start(&handler, &revision).await
    };
    match starting.await {
        Ok(running) => {
            let posted = running.posted();
            handlers.all().push(running);
            board.put_up(place, posted);
        }
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                handler = name,
                error,
                "the handler cannot be started; mend it and start the host again"
            );
            board.cannot_start(name, error);
        }
    }
}
