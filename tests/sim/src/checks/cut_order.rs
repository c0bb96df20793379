//! Outputs of a handler in cuts, in order: a reader of committed transactions sees what the events of one lane
//! gave out in the order of these events. What is dead-lettered unhandled waits for nobody.

use std::collections::BTreeMap;

use crate::database::Row;
use crate::story::{Breach, Story};
use crate::trace::Place;

pub fn check(story: &Story) -> Result<(), Breach> {
    for (handler, seen) in (0..).zip(&story.seen) {
        let mut last: BTreeMap<(i32, Option<u32>), Row> = BTreeMap::new();
        for row in seen {
            let place = Place { handler, partition: row.partition };
            let record = story.record(place, row.offset).filter(|record| story.is_handled(record));
            let Some(lane) = record.and_then(|record| story.lane(record)) else { continue };
            let before = last.insert((row.partition, lane), *row);
            if let Some(before) = before.filter(|before| before > row) {
                let what = format!("{place}: {:?} of {} is seen behind {before:?}", row.what, row.offset);
                return Breach::in_the_end(what);
            }
        }
    }
    Ok(())
}
