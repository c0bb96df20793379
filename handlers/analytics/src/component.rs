//! Joins the projection to the world: reads the event, adds its row.

use keylane_sdk::{Failure, Record};

use crate::projection::{self, EntryPosted, TaskCompleted};
use crate::sql::SqlProjection;

keylane_sdk::events! {
    /// What analytics handles.
    #[derive(Debug)]
    enum Event {
        "account.entry.posted" => EntryPosted(EntryPosted),
        "task.completed" => Completed(TaskCompleted),
    }
}

keylane_sdk::handler!(handle);

fn handle(event: Event, _record: &Record) -> Result<(), Failure> {
    let projection = SqlProjection::open()?;
    match event {
        Event::EntryPosted(event) => {
            let row = projection::entry(event).map_err(Failure::reject)?;
            projection.add_entry(&row)?;
        }
        Event::Completed(event) => projection.add_completion(&projection::completion(event))?,
    }
    Ok(())
}
