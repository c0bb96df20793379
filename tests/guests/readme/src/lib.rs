//! The handler of the README, word for word, so that it is known to build, fit its manifest and run;
//! `host/keylane/tests/readme.rs` compares.
#![allow(missing_docs, reason = "it stands here as the README shows it")]

use keylane_sdk::{Failure, Record, params, sql::Database};

#[derive(serde::Deserialize)]
pub struct TaskAssigned {
    task: String,
    worker: String,
}

keylane_sdk::events! { pub enum Event { "task.assigned" => Assigned(TaskAssigned) } }
keylane_sdk::handler!(handle);

fn handle(event: Event, _record: &Record) -> Result<(), Failure> {
    let Event::Assigned(body) = event;
    let board = Database::open("board")?;
    board
        .execute("INSERT INTO assignments (task, worker) VALUES ($1, $2)", params![body.task, body.worker])?;
    Ok(())
}
