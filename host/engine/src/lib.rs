//! The engine: drives the ordering engine (`keylane-lanes`) with time and tasks, and declares the
//! ports that the rooms around it implement. One owner task per partition; no map is shared between
//! partitions; whoever needs something of a partition sends its owner a message.
//!
//! The path of a record through this room: the intake delivers a batch into the partition's [`Inbox`];
//! the owner asks the [`Filter`] whether the handler wants each record, puts wanted ones into lanes,
//! starts runs on free slots through the [`Runner`] port, sends what cannot be handled through the
//! [`DeadLetters`] port, and publishes its [`Position`] for the committer.

mod admission;
mod burial;
mod event;
mod handler;
mod held;
mod inbox;
mod meters;
mod owner;
mod ports;
mod tally;
#[cfg(test)]
mod testing;

pub use admission::{Filter, LaneRule, Untyped};
pub use event::{Event, Header, Timestamp, TimestampKind, TopicPartition};
pub use handler::{HandlerEngine, HandlerOptions};
pub use inbox::{Inbox, InboxLimits, Owners, Ownership, Position, Wake};
pub use keylane_lanes::Policy;
pub use ports::{
    Acknowledgement, Attempt, DeadLetter, DeadLetters, FailureClass, Outcome, OutgoingRecord, PublishError,
    Publisher, Runner,
};
pub use tally::{Tally, Totals};
