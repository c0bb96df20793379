//! How a host's handlers come up: together where their databases answer, each of the others by itself, when its own do.
//!
//! Who owns: the host, a task for each handler that its database keeps waiting, and what that has opened, until the
//! handler runs. Who waits: such a task, for its databases, in which migrations may run for long; all handlers, for the
//! brokers. What bounds: the handlers; how long those that are ready wait for the others is [`FIRST_ANSWER`], once for
//! the first answers and once for migrations.

use std::sync::Arc;

use anyhow::anyhow;
use futures::TryStreamExt;
use futures::future::try_join_all;
use futures::stream::FuturesUnordered;
use keylane_guest::{Fitted, Revision};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::board::Board;
use super::databases::{self, Asked, FIRST_ANSWER};
use super::rooms::Rooms;
use super::running::Handlers;
use crate::config::Handler;

/// A handler and its place in the host file.
struct Placed {
    place: usize,
    handler: Handler,
}

/// One whose revision is being made in a task of its own.
struct Coming {
    placed: Placed,
    revision: oneshot::Receiver<anyhow::Result<Revision>>,
}

/// Where handlers are started.
#[derive(Clone)]
struct Stage {
    rooms: Arc<Rooms>,
    board: Board,
    handlers: Arc<Handlers>,
}

/// Starts every handler of the host file that its databases let start now. The others come up in tasks among `tasks`,
/// which end when they are shut down.
///
/// # Errors
/// What a person has to change, as far as it is known when the others start.
pub(super) async fn start_all(
    rooms: Arc<Rooms>,
    board: Board,
    handlers: Arc<Handlers>,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let stage = Stage { rooms, board, handlers };
    let (open, away) = stage.ask().await?;
    // All of them first: a component that does not fit is said before any migration runs.
    let mut fitting = Vec::new();
    for placed in open {
        let fitted = stage.rooms.fit(&placed.handler).await?;
        fitting.push((placed, fitted));
    }
    let coming = fitting.into_iter().map(|(placed, fitted)| stage.load(tasks, placed, fitted)).collect();
    let (ready, slow) = stage.first(coming).await?;
    stage.rooms.check_topics().await?;
    for placed in away {
        let stage = stage.clone();
        tasks.spawn(async move {
            let coming = stage.loaded_later(&placed.handler).await;
            stage.start_later(&placed, coming).await;
        });
    }
    for Coming { placed, revision } in slow {
        let stage = stage.clone();
        tasks.spawn(async move { stage.start_later(&placed, loaded(revision.await)).await });
    }
    stage.start_at_once(&ready).await
}

impl Stage {
    /// Asks all databases once. Answers the handlers whose databases are open, and the others.
    async fn ask(&self) -> anyhow::Result<(Vec<Placed>, Vec<Placed>)> {
        let (mut open, mut away) = (Vec::new(), Vec::new());
        let all = &self.rooms.config.handlers;
        for ((place, handler), asked) in all.iter().enumerate().zip(databases::ask_all(all).await?) {
            let placed = Placed { place, handler: handler.clone() };
            match asked {
                Asked::Open(opened) => {
                    self.rooms.keep(handler, opened);
                    open.push(placed);
                }
                Asked::Away(why) => {
                    self.board.waits_for(&handler.manifest.name, why);
                    away.push(placed);
                }
            }
        }
        Ok((open, away))
    }

    /// Makes a handler's revision in a task of its own: it goes on whoever waits for it, and holds nothing in its
    /// database because others wait for the brokers.
    fn load(&self, tasks: &mut JoinSet<()>, placed: Placed, fitted: Fitted) -> Coming {
        let (told, revision) = oneshot::channel();
        let (rooms, handler) = (self.rooms.clone(), placed.handler.clone());
        tasks.spawn(async move {
            let _nobody_asks = told.send(rooms.load(&handler, fitted).await);
        });
        Coming { placed, revision }
    }

    /// Those whose revisions are there in time, and the others, of which the board says why.
    async fn first(&self, coming: Vec<Coming>) -> anyhow::Result<(Vec<(Placed, Revision)>, Vec<Coming>)> {
        let until = Instant::now() + FIRST_ANSWER;
        let asked = coming.into_iter().map(async |mut one| {
            let told = timeout_at(until, &mut one.revision).await;
            anyhow::Ok((one, told.ok().map(loaded).transpose()?))
        });
        let (mut ready, mut slow) = (Vec::new(), Vec::new());
        for (one, revision) in try_join_all(asked).await? {
            let Some(revision) = revision else {
                let why = format!(
                    "its tables are not up to date after {FIRST_ANSWER:?}: migrations run in its database, its own or \
                     another host's, or the database is away"
                );
                self.board.waits_for(&one.placed.handler.manifest.name, why);
                slow.push(one);
                continue;
            };
            ready.push((one.placed, revision));
        }
        Ok((ready, slow))
    }

    /// Starts these at once, so that none waits for another one's database.
    async fn start_at_once(&self, ready: &[(Placed, Revision)]) -> anyhow::Result<()> {
        let starting = ready.iter().map(async |(Placed { place, handler }, revision)| {
            anyhow::Ok((*place, self.rooms.start(handler, revision).await?))
        });
        let mut starting: FuturesUnordered<_> = starting.collect();
        while let Some((place, running)) = starting.try_next().await? {
            self.handlers.put_up(&self.board, place, running);
        }
        Ok(())
    }

    /// The revision of a handler whose databases do not answer yet.
    async fn loaded_later(&self, handler: &Handler) -> anyhow::Result<Revision> {
        let name = &handler.manifest.name;
        let opened = databases::until_open(handler, |why| self.board.waits_for(name, why)).await?;
        self.rooms.keep(handler, opened);
        self.board.waits_for(name, "its databases answer; its tables are brought up to date".to_owned());
        let fitted = self.rooms.fit(handler).await?;
        self.rooms.load(handler, fitted).await
    }

    /// Starts a handler when its revision is there. What a person has to change is told, and keeps this handler alone
    /// from running.
    async fn start_later(&self, Placed { place, handler }: &Placed, revision: anyhow::Result<Revision>) {
        let name = &handler.manifest.name;
        let starting = async {
            let revision = revision?;
            self.board.waits_for(name, "its databases answer; it is being started".to_owned());
            self.rooms.start(handler, &revision).await
        };
        match starting.await {
            Ok(running) => self.handlers.put_up(&self.board, *place, running),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    handler = name,
                    error,
                    "the handler cannot be started; mend it and start the host again"
                );
                self.board.cannot_start(name, error);
            }
        }
    }
}

/// What a task has made of a revision. One that broke off has said so in the log.
fn loaded(told: Result<anyhow::Result<Revision>, oneshot::error::RecvError>) -> anyhow::Result<Revision> {
    told.unwrap_or_else(|_| Err(anyhow!("making its revision broke off; the log says why")))
}
