//! The relay: what empties the outbox of a database into Kafka and mail, once and in order per key.
//!
//! One host relays at a time: it holds the lease in the database ([`Outbox::lease`]), whose epoch each of its
//! transactions there checks. In Kafka the fixed transactional id fences: whoever opens the way ends the
//! open transaction of the one before. The order is lease, way, lease again, position, so that one who was
//! overtaken in between writes nothing in either place.
//!
//! A batch goes like this; whatever dies after whichever step, the next owner finds out what was done:
//!
//! 1. In one transaction of the database the batch before is ended (its rows deleted, its number noted as
//!    sent) and the next one is made: a number and the ids of visible rows, in order.
//! 2. In one transaction of Kafka its records are written and, as position, its number.
//!
//! Numbers rise by steps of chance, so that two batches never share one, not even in an older copy of the
//! database. So Kafka's position is either the number noted as sent or that of the batch under way, and says which.
//! Anything else means that one of the two was set back: the relay stops and says so ([`Mismatch`]). An older
//! copy that comes in the database's place under a relay that runs has the same epoch; so the relay says, with
//! each batch, where it left the outbox, and nothing is done where it is not there.
//!
//! Mails have no order and no transaction. Each is sent, then deleted, as soon as the server has taken it; one
//! of which the server's yes did not become a deleted row is sent again with the same Message-ID.
//!
//! - `store.rs`: what is asked of a database. `ports.rs`: the ways out. `news.rs`: what wakes it.
//! - `config.rs`: whose relay it is. `stopping.rs`: how it is asked to stop.
//! - `core.rs`: what is decided. `task.rs`, `opening.rs`, `records.rs`, `mails.rs`: who does it. `meters.rs`:
//!   metrics.

mod config;
mod core;
mod mails;
mod meters;
mod news;
mod opening;
mod ports;
mod records;
mod stopping;
mod store;
mod task;

pub use self::core::Mismatch;
pub use config::{RelayConfig, RelayStatus};
pub use ports::{
    Handed, MailError, MailSender, OpenedSender, Position, RelaySender, RelaySenders, SendError,
};
pub use store::{
    Advance, Applicant, Batch, Dropped, Leased, ListedRow, MailEnded, Numbering, Outbox, OutboxCounts,
    OutboxError, Parked, Refused, Selection, Standing, StoredRow, UnderWay,
};
pub use task::Relay;

pub(crate) use self::core::{FINAL_WAIT_MAX, fitting, next_batch, places};
pub(crate) use news::Written;
pub(crate) use store::{ASIDE_MAX, DUE_ROWS_MAX, ERROR_CHARS_MAX, LEASES, RELEASE_ROWS_MAX, noted};
