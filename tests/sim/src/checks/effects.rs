//! Effects once: in the end an event that is done has left its row in the database exactly once, and no other
//! event has left any.

use std::collections::BTreeMap;

use crate::database::{EndedAs, What};
use crate::story::{Breach, Story};

pub fn check(story: &Story) -> Result<(), Breach> {
    for (handler, state) in story.databases.iter().enumerate() {
        let Some(state) = state else { continue };
        let mut rows: BTreeMap<(i32, i64), u64> = BTreeMap::new();
        for row in state.rows.iter().filter(|row| row.what == What::Effect) {
            *rows.entry((row.partition, row.offset)).or_default() += 1;
        }
        for (partition, stream) in &state.streams {
            for (offset, how) in &stream.ended {
                let wanted = u64::from(*how == EndedAs::Done);
                let found = rows.remove(&(*partition, *offset)).unwrap_or(0);
                if found != wanted {
                    return Breach::in_the_end(format!(
                        "h{handler}[{partition}]: {offset} ended as {how:?} and left {found} rows, not {wanted}"
                    ));
                }
            }
        }
        if let Some(((partition, offset), found)) = rows.first_key_value() {
            return Breach::in_the_end(format!(
                "h{handler}[{partition}]: {offset} has not ended and left {found} rows"
            ));
        }
    }
    Ok(())
}
