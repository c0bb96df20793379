//! A host's end of the network: what it asks of brokers, and what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::coordinator::{CommitError, Committed, Position, Welcome};
use crate::cuts::Fault;
use crate::database::Row;
use crate::transactions::Ticket;

/// What a host asks of a broker.
#[derive(Debug, Clone)]
pub enum Request {
    Heartbeat {
        member: Option<u64>,
        owned: BTreeSet<i32>,
    },
    Leave {
        member: u64,
    },
    Fetch {
        partitions: BTreeSet<i32>,
        /// Not answered while a transaction is about to change them.
        stable: bool,
    },
    Commit {
        member: u64,
        epoch: u64,
        positions: Vec<Position>,
    },
    /// A dead letter.
    Bury,
    /// A producer takes the place of the one before of its name.
    Open {
        producer: u64,
    },
    /// Records of a transaction.
    Produce {
        ticket: Ticket,
        rows: Vec<Row>,
    },
    /// Offsets of a transaction, as this member.
    Include {
        ticket: Ticket,
        member: u64,
        epoch: u64,
        positions: Vec<Position>,
    },
    /// Its end.
    End {
        ticket: Ticket,
        commits: bool,
    },
}

impl Request {
    /// Whether faults befall it as they befall commits.
    pub fn is_commit(&self) -> bool {
        matches!(self, Self::Commit { .. }) || self.is_of_transaction()
    }

    /// Producers have connections of their own.
    pub fn is_of_transaction(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Produce { .. } | Self::Include { .. } | Self::End { .. })
    }
}

/// What it answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Welcome(Welcome),
    UnknownMember,
    Left,
    Fetched(BTreeMap<i32, Committed>),
    Committed(Vec<(i32, Result<(), CommitError>)>),
    Refused,
    Buried,
    LetterRefused,
    Opened(u64),
    Produced,
    /// Brokers do not take these.
    RowsRefused(Vec<(Row, Fault)>),
    Included,
    Ended,
    /// The transaction has ended otherwise, or the producer is another's now.
    Fenced,
}

/// A request on its way.
#[derive(Debug)]
pub struct Call {
    pub host: u8,
    pub handler: u8,
    pub request: Request,
    pub reply: oneshot::Sender<Answer>,
}

/// A host's end of the network: what it sends is fetched at the end of its turn.
#[derive(Debug, Clone)]
pub struct Wire {
    host: u8,
    sent: Arc<Mutex<Vec<Call>>>,
}

impl Wire {
    pub fn new(host: u8) -> Self {
        Self { host, sent: Arc::default() }
    }

    /// Sends; the answer comes later, or never.
    pub fn send(&self, handler: u8, request: Request) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.sent.lock().unwrap().push(Call { host: self.host, handler, request, reply });
        answer
    }

    /// Sends and waits for the answer up to a limit.
    pub async fn ask(&self, handler: u8, request: Request, limit: Duration) -> Option<Answer> {
        let answer = self.send(handler, request);
        tokio::time::timeout(limit, answer).await.ok()?.ok()
    }

    pub fn take_sent(&self) -> Vec<Call> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }
}
