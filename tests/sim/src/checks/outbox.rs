//! Outputs once: in the end the outbox holds each output of an event that is done exactly once, one letter
//! for each that is dead-lettered, and nothing else.

use std::collections::BTreeMap;

use crate::database::{EndedAs, Row, What};
use crate::runner::outputs_of;
use crate::story::{Breach, Story};
use crate::trace::Place;

pub fn check(story: &Story) -> Result<(), Breach> {
    for (handler, state) in story.databases.iter().enumerate() {
        let Some(state) = state else { continue };
        let mut rows: BTreeMap<Row, u64> = BTreeMap::new();
        for row in state.rows.iter().filter(|row| row.what != What::Effect) {
            *rows.entry(*row).or_default() += 1;
        }
        for (partition, stream) in &state.streams {
            let place = Place { handler: handler as u8, partition: *partition };
            for (offset, how) in &stream.ended {
                for what in wanted(story, place, *offset, *how) {
                    let found = rows.remove(&Row { partition: *partition, offset: *offset, what });
                    if found != Some(1) {
                        return Breach::in_the_end(format!("{place}: {what:?} of {offset}: {found:?} times"));
                    }
                }
            }
        }
        if let Some((row, times)) = rows.first_key_value() {
            return Breach::in_the_end(format!("h{handler}: {row:?} is nobody's, {times} times"));
        }
    }
    Ok(())
}

fn wanted(story: &Story, place: Place, offset: i64, how: EndedAs) -> Vec<What> {
    match how {
        EndedAs::Done => (0..outputs_of(&story.plan, place, offset)).map(What::Output).collect(),
        EndedAs::DeadLettered => vec![What::Letter],
        EndedAs::Skipped => Vec::new(),
    }
}
