//! The model of the handlers' write databases: one for each handler that has one, with what travels between
//! it and the hosts.
//!
//! What one connection carries arrives in the order of its sending, or the connection breaks: then the
//! server rolls back what is open on it, and nobody knows what became of a commit that was under way.

mod claims;
mod doing;
mod line;
mod locks;
mod plan;
mod request;
mod server;
mod state;
mod travel;

pub use self::claims::{ModelClaims, database_id};
pub use self::line::{Line, Transaction};
pub use self::plan::{DatabaseFault, DatabasePlan};
pub use self::request::{Answer, Request};
pub use self::state::{EndedAs, Row, State, What};
pub use self::travel::Databases;
