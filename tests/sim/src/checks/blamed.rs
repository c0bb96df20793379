//! Who is at fault in cuts: an event fails because of what it gave out only where no broker ever takes that, or where
//! brokers have said that its topic is not there. That a partition is silent is nobody's fault.

use std::collections::BTreeSet;

use crate::cuts::{is_refused, topics_of};
use crate::runner::outputs_of;
use crate::story::{Breach, Story};
use crate::trace::Note;

pub fn check(story: &Story) -> Result<(), Breach> {
    let mut gone: BTreeSet<(u8, u8, u32)> = BTreeSet::new();
    for (at, entry) in story.walk() {
        match entry.note {
            Note::TopicGone { handler, topic } => {
                gone.insert((entry.host, handler, topic));
            }
            Note::Refused { place, offset, .. } if !is_refused(&story.plan, place, offset) => {
                let mut topics = topics_of(outputs_of(&story.plan, place, offset));
                if !topics.any(|topic| gone.contains(&(entry.host, place.handler, topic))) {
                    return Breach::at(at, format!("{place}: {offset} fails, and all its topics are there"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
