//! `sql`: databases that the manifest grants by name. Statements on the one that the handler writes to go
//! to the run's transaction ([`crate::RunSlot`]); statements on the others go to their read addresses.
//!
//! A statement that fails dooms its event: later calls answer `aborted`, and the event ends as failed
//! whatever the handler answers. Where it could not be asked at a read address, because that is away or busy,
//! nobody is charged for that. What a database is, and what may be said to it, is `keylane-effects`'.

mod grant;
mod host;
mod known;
mod session;
mod value;

pub(crate) use grant::{Sql, write_database};
pub use host::DatabaseHandle;
pub use session::elsewhere_most;
