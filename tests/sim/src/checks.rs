//! The checkers: one small one per promise. Each walks through a story and says where the promise breaks.

mod believed;
mod blamed;
mod budgets;
mod charges;
mod claimed;
mod counters;
mod cut_once;
mod cut_order;
mod cut_together;
mod duplicates;
mod effects;
mod epochs;
mod faults;
mod floors;
mod lease;
mod letters;
mod liveness;
mod lost;
mod order;
mod outbox;
mod passing;
mod retries;
mod revoke;
mod sequence;
mod serial;
mod takes;
mod tokens;

use crate::story::{Breach, Story};

pub use claimed::unreported;
pub use order::overlaps;

/// A checker.
pub type Check = fn(&Story) -> Result<(), Breach>;

/// All of them by name.
pub const CHECKS: &[(&str, Check)] = &[
    ("faults", faults::check),
    ("order", order::check),
    ("passing", passing::check),
    ("tokens", tokens::check),
    ("lease", lease::check),
    ("revoke", revoke::check),
    ("duplicates", duplicates::check),
    ("retries", retries::check),
    ("letters", letters::check),
    ("budgets", budgets::check),
    ("lost", lost::check),
    ("liveness", liveness::check),
    ("counters", counters::check),
    // Beside a database.
    ("serial", serial::check),
    ("sequence", sequence::check),
    ("epochs", epochs::check),
    ("takes", takes::check),
    ("believed", believed::check),
    ("floors", floors::check),
    ("effects", effects::check),
    ("outbox", outbox::check),
    // In cuts.
    ("cut once", cut_once::check),
    ("cut order", cut_order::check),
    ("cut together", cut_together::check),
    ("blamed", blamed::check),
];
