//! Partitions of a handler in cuts that are dropped and taken anew, because of what became of a cut.

use std::collections::BTreeSet;

use keylane_engine::TopicPartition;

use super::assignment::names;
use super::poller::{Failure, Poller};

impl Poller {
    /// Partitions with an event whose records were refused for good, or of which it is not known whether a
    /// transaction was committed: what their owners know does not hold any more. They begin again from what
    /// the group has. The group may ask for them first; nothing more of them is cut then either.
    pub(super) fn drop_what_was_set_back(&mut self) -> Result<(), Failure> {
        let reasons = self.parts.commits.set_back();
        let is_here = |one: &&TopicPartition| self.feeds.iter().any(|feed| feed.partition == **one);
        let here: BTreeSet<TopicPartition> = reasons.keys().filter(is_here).cloned().collect();
        let told = here.first().and_then(|partition| reasons.get(partition));
        if let Some(reason) = told {
            tracing::warn!(
                group = self.parts.config.group,
                reason,
                partitions = names(&here),
                "the partitions are dropped, and taken anew from what the group has committed"
            );
            self.drop_and_wait(&here)?;
        }
        reasons.keys().for_each(|partition| self.parts.commits.is_dropped(partition));
        Ok(())
    }
}
