//! The model of a database server: what stands in it, which transactions are open, who waits, and what
//! befalls it.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylane_engine::{Fence, GapSet};
use tokio::sync::oneshot;

use super::plan::{DatabaseFault, DatabasePlan};
use super::request::{Answer, Call, Request};
use super::state::{Row, State};
use crate::draw::Draw;
use crate::mutation::Mutation;
use crate::trace::{Place, Trace};

/// A transaction that is open.
pub(super) struct Open {
    pub life: u64,
    pub fence: Fence,
    pub rows: Vec<Row>,
    /// How many of them came before the savepoint.
    pub mark: usize,
    pub idle_since_ms: u64,
    /// A statement failed and ended it, and the mutation goes on.
    pub void: bool,
}

/// A request that waits for a lock.
pub(super) struct Waiting {
    pub call: Call,
    pub until_ms: u64,
    /// What a take saw when it came, for the mutation that believes it.
    pub seen: Option<GapSet>,
    /// It had to wait.
    pub waited: bool,
}

/// The host that an answer goes to, its way, what it says, and which life of the server says so.
pub type Reply = (u8, oneshot::Sender<(Answer, u64)>, Answer, u64);

/// One handler's database.
pub struct Server {
    pub(super) handler: u8,
    pub plan: Arc<DatabasePlan>,
    mutation: Option<Mutation>,
    pub(super) trace: Trace,
    pub draw: Draw,
    pub state: State,
    backup: State,
    has_backup: bool,
    /// Which life of the server this is: no backup carries it.
    pub(super) boot: u64,
    down_until_ms: u64,
    pub(super) open: BTreeMap<u64, Open>,
    pub(super) waiting: Vec<Waiting>,
    /// Where the floor stood at each take, by stream and nonce.
    pub(super) floors: BTreeMap<(i64, i64), i64>,
    pub calm: bool,
}

impl Server {
    pub fn new(seed: u64, handler: u8, plan: DatabasePlan, mutation: Option<Mutation>, trace: Trace) -> Self {
        Self {
            handler,
            plan: Arc::new(plan),
            mutation,
            trace,
            draw: Draw::of(&[seed, 10, u64::from(handler)]),
            state: State::default(),
            backup: State::default(),
            has_backup: false,
            boot: 1,
            down_until_ms: 0,
            open: BTreeMap::new(),
            waiting: Vec::new(),
            floors: BTreeMap::new(),
            calm: false,
        }
    }

    pub(super) fn mutated(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(super) fn place(&self, stream: i64) -> Place {
        Place { handler: self.handler, partition: stream as i32 }
    }

    pub(super) fn chance(&mut self, permille: u64) -> bool {
        !self.calm && self.draw.permille(permille)
    }
}

/// What comes from outside.
impl Server {
    /// A request arrives. Answers who is to hear what.
    pub fn serve(&mut self, now_ms: u64, call: Call) -> Option<Reply> {
        if now_ms < self.down_until_ms {
            return Some(self.refused(call));
        }
        if call.request.stream().is_some() || self.wants_writer(&call.request) {
            let seen = match call.request {
                Request::Take { partition } => self.state.stream(partition).restored(),
                _ => None,
            };
            let until_ms = now_ms + self.plan.wait_ms;
            self.waiting.push(Waiting { call, until_ms, seen, waited: false });
            return None;
        }
        let Call { host, request, reply, .. } = call;
        let answer = self.perform(now_ms, host, request)?;
        Some((host, reply, answer, self.boot))
    }

    fn wants_writer(&self, request: &Request) -> bool {
        self.plan.single_writer && matches!(request, Request::Settle { .. } | Request::Ended { .. })
    }

    fn refused(&self, call: Call) -> Reply {
        let goes_on = call.request.transaction().is_some() && call.request.stream().is_none();
        let answer = if goes_on { Answer::Gone } else { Answer::Unavailable };
        (call.host, call.reply, answer, self.boot)
    }

    /// The connections of a process are closed.
    pub fn close(&mut self, life: u64) {
        self.open.retain(|_, one| one.life != life);
        self.waiting.retain(|one| one.call.life != life);
    }

    /// Whether a process has a transaction open.
    pub fn has_open(&self, life: u64) -> bool {
        self.open.values().any(|one| one.life == life)
    }

    /// The server ends, and is back then. Answers who hears at once that the connection is gone.
    pub fn go_down(&mut self, until_ms: u64) -> Vec<Reply> {
        self.boot += 1;
        self.down_until_ms = self.down_until_ms.max(until_ms);
        self.open.clear();
        let boot = self.boot;
        self.waiting.drain(..).map(|one| (one.call.host, one.call.reply, Answer::Gone, boot)).collect()
    }

    /// Of a database that nothing is settled in yet, only where no tool moves the group's offsets: they
    /// would say then where to start.
    pub fn back_up(&mut self) {
        let moves = [DatabaseFault::OffsetRewound, DatabaseFault::OffsetAhead];
        let is_moved = self.plan.timed.iter().any(|(fault, _)| moves.contains(fault));
        if is_moved && !self.state.is_settled() {
            return;
        }
        self.has_backup = true;
        self.backup = self.state.clone();
    }

    /// What was in the backup stands again. Answers the number of its last commit; none without a backup.
    pub fn restore(&mut self) -> Option<u64> {
        if !self.has_backup {
            return None;
        }
        let commit = self.state.commit;
        self.state = self.backup.clone();
        // Numbers of commits are for the checkers, and never repeat.
        Some(std::mem::replace(&mut self.state.commit, commit))
    }

    pub fn become_calm(&mut self) {
        self.calm = true;
        self.down_until_ms = 0;
    }
}
