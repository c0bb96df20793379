//! The engine: drives the ordering engine (`keylane-lanes`) with time and tasks, and declares the
//! ports that the rooms around it implement. One owner task per partition; no map is shared between
//! partitions; whoever needs something of a partition sends its owner a message.
//!
//! The path of a record through this room: the intake delivers a batch into the partition's [`Inbox`];
//! the owner asks the [`Filter`] whether the handler wants each record, puts wanted ones into lanes,
//! starts runs on free slots through the [`Runner`] port, sends what cannot be handled through the
//! [`DeadLetters`] port, and publishes its [`Progress`] for the committer. Where the handler has a write
//! database, progress is kept there, through the [`Claims`] port: what ends outside of a run is claimed,
//! the floor is raised, and an owner that was overtaken or does not know how the database stands forgets
//! the partition, so that it is taken anew. Where a handler has none and its effects are records alone, the
//! owner holds them, and the intake commits them together with the progress, by a [`Snapshot`].
//!
//! Under a paused single-threaded runtime everything here is deterministic but the wall clock time that a
//! dead letter carries: a simulation with virtual time replays exactly.

mod admission;
mod assignment;
mod backoff;
mod budget;
mod burial;
mod claiming;
mod claims;
mod control;
mod counted;
mod cuts;
mod ending;
mod event;
mod handler;
mod held;
mod inbox;
mod key;
mod leader_epochs;
mod lease;
mod meters;
mod owner;
mod payload;
mod ports;
mod progress;
mod run_control;
mod slots;
mod status;
mod tally;
#[cfg(test)]
mod testing;

pub use admission::{Filter, LaneRule, Untyped};
pub use assignment::{Assignment, Token, TopicId};
pub use budget::{Floor, HostBudget};
pub use claims::{Boxed, Claims, ClaimsError, Epoch, Fence, Hold};
pub use control::{Control, ControlError};
pub use counted::Counted;
pub use cuts::{CutAnswer, CutQuestion, Ending, LetterForm, Snapshot};
pub use ending::{Ownership, Parting};
pub use event::{Event, Header, Timestamp, TimestampKind, TopicPartition};
pub use handler::{HandlerEngine, HandlerOptions};
pub use inbox::{Delivery, Inbox, InboxLimits, Owners, Wake};
pub use keylane_lanes::{ClassCaps, Flood, GapSet, Policy, Then};
pub use leader_epochs::{LeaderEpochs, LogPosition};
pub use lease::{BootClock, Lease};
pub use payload::{
    PAYLOAD_UNITS_HIGH, PAYLOAD_UNITS_MAX, Restored, RestoredNote, payload_beside, payload_of, restore,
};
pub use ports::{
    Acknowledgement, Attempt, DeadLetter, DeadLetters, FailureClass, Outcome, OutgoingRecord, PublishError,
    Publisher, RunReport, RunStand, Runner,
};
pub use progress::Progress;
pub use run_control::RunControl;
pub use status::{Blocking, ClaimsStatus, LaneStatus, Lanes, PartitionStatus, WAITING_TOLD_MAX};
pub use tally::{Tally, Totals};
