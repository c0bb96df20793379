//! A host that has nothing to do holds no event and no task beyond those for what it owns; one that has put
//! everything down holds nothing at all.

use crate::story::{Breach, Story};

pub fn check(story: &Story) -> Result<(), Breach> {
    if let Some(restless) = story.ending.restless.first() {
        return Breach::in_the_end(format!("everything is committed, and a host holds {restless:?}"));
    }
    for remains in &story.ending.remains {
        if remains.tasks > 0 || remains.bytes > 0 || remains.hungry > 0 {
            return Breach::in_the_end(format!("a host has left, and there remain {remains:?}"));
        }
    }
    match story.ending.stayed.first() {
        None => Ok(()),
        Some(host) => Breach::in_the_end(format!("host {host} did not leave in time")),
    }
}
