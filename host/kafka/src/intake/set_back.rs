//! Partitions of a handler in cuts that are dropped and taken anew, because of what became of a cut.

use super::assignment::names;
use super::poller::{Failure, Poller};

impl Poller {
    /// Partitions with an event whose records were refused for good, or of which it is not known whether a
    /// transaction was committed: what their owners know does not hold any more. They begin again from what
    /// the group has.
    pub(super) fn drop_what_was_set_back(&mut self) -> Result<(), Failure> {
        let mut reasons = self.parts.commits.take_set_back();
        reasons.retain(|partition, _| self.feeds.iter().any(|feed| feed.partition == *partition));
        let Some(reason) = reasons.values().next() else { return Ok(()) };
        tracing::warn!(
            group = self.parts.config.group,
            reason,
            partitions = names(reasons.keys()),
            "the partitions are dropped, and taken anew from what the group has committed"
        );
        self.drop_and_wait(&reasons.into_keys().collect())
    }
}
