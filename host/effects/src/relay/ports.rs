//! The ways out, implemented elsewhere: transactions of Kafka, and a server that takes mails.

use std::time::Duration;

use keylane_engine::{Boxed, OutgoingRecord};

use crate::outbox::Letter;

/// How far a database's outbox has been sent, as Kafka keeps it: written in the transaction of what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The number of the numbering. Later ones have higher numbers.
    pub numbering: i64,
    /// The last batch that was sent.
    pub batch: i64,
}

/// Records were not sent, or nobody knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nothing of the transaction will ever be seen, because of some of its records. The way goes on.
    #[error("records were refused: {reason}")]
    Refused {
        /// Topics that take nothing now.
        topics: Vec<String>,
        /// Records that may be at fault, by their place in the transaction.
        records: Vec<usize>,
        /// What was said of the first.
        reason: String,
    },
    /// Another relay sends now.
    #[error("another relay has taken over")]
    Superseded,
    /// Whether the transaction was committed is not known, or nothing can be sent: open the way anew.
    #[error("{0}")]
    Failed(String),
}

/// The way to Kafka, and how far what was sent reaches.
pub type OpenedSender = (Box<dyn RelaySender>, Option<Position>);

/// Opens the way to Kafka.
pub trait RelaySenders: Send + Sync + 'static {
    /// Takes the place of whoever sent before for this database, whose open transaction is ended by that,
    /// and then reads the position.
    fn open(&self, database: &str) -> Boxed<'_, Result<OpenedSender, SendError>>;
}

/// The way to Kafka, for as long as nobody takes its place.
pub trait RelaySender: Send {
    /// Sends all of it and the position in one transaction, in this order.
    fn send(&mut self, records: Vec<OutgoingRecord>, position: Position) -> Boxed<'_, Result<(), SendError>>;
}

/// A mail was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct MailError {
    /// What the server said.
    pub reason: String,
    /// Whether it would say the same again.
    pub is_final: bool,
    /// Whether that is about this very mail: others may be taken.
    pub is_its_own: bool,
}

/// What became of a mail that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// The server took it.
    Taken,
    /// It was not begun: when its turn came, it was no longer ours to send.
    NotBegun,
}

/// Sends mails.
pub trait MailSender: Send + Sync + 'static {
    /// The longest that a mail takes once it was begun.
    fn limit(&self) -> Duration;

    /// Sends one mail, unless `may_begin` says no when its turn has come: others may be waited for first, and
    /// meanwhile another host may have begun to send the same mail.
    fn send<'a>(
        &'a self,
        letter: Letter,
        may_begin: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Boxed<'a, Result<Handed, MailError>>;
}
