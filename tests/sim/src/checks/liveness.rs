//! When faults are over, everything ends in a bounded time, and the committed offsets reach the logs' ends.

use crate::story::{Breach, Story};
use crate::world::CALM_LIMIT_MS;

pub fn check(story: &Story) -> Result<(), Breach> {
    if story.ending.drained {
        return Ok(());
    }
    Breach::in_the_end(format!(
        "not all is committed {CALM_LIMIT_MS} ms after the storm: {}",
        story.ending.stuck
    ))
}
