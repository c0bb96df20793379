//! Fixtures of the tests that do the polling thread's work by hand.

use std::collections::BTreeSet;
use std::time::Duration;

use keylane_engine::{
    DeadLetter, DeadLetters, Filter, HandlerOptions, HostBudget, InboxLimits, LaneRule, Policy, PublishError,
    Untyped,
};

/// The longest that anything is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

/// A handler of this name that takes every event.
pub(super) fn options(name: &str) -> HandlerOptions {
    let type_header = "ce_type".to_owned();
    HandlerOptions {
        name: name.to_owned(),
        filter: Filter { types: BTreeSet::new(), type_header, untyped: Untyped::Handle },
        lanes: LaneRule::Key,
        policy: Policy::default(),
        slots: 4,
        inbox: InboxLimits::default(),
        budget: HostBudget::new(64 * 1024 * 1024),
        stuck_after: PATIENCE,
    }
}

/// Where no event is to end in the dead letters.
pub(super) struct NobodyDies;

impl DeadLetters for NobodyDies {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("nothing is to die here: {letter:?}")
    }
}
