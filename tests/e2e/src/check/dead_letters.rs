//! The dead letters: exactly the broken records, each once, byte for byte, and where they came from.

use anyhow::{Context, Result, ensure};

use super::same;
use crate::broker::{Record, Stored};
use crate::story::TASKS;

/// The handlers that get the broken records of the tasks' topic and must refuse them.
pub const HANDLERS: [&str; 2] = ["accounting", "analytics"];

/// Where a handler's dead letters of the tasks' topic lie.
#[must_use]
pub fn topic(handler: &str) -> String {
    format!("{TASKS}.{handler}.dlq")
}

/// Compares a dead-letter topic with the broken records, which lie somewhere in the tasks' topic.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(handler: &str, letters: &[Stored], broken: &[Record], tasks: &[Stored]) -> Result<()> {
    let mut wanted: Vec<(i32, i64, Record)> = tasks
        .iter()
        .filter(|stored| broken.contains(&stored.record))
        .map(|stored| (stored.partition, stored.offset, stored.record.clone()))
        .collect();
    ensure!(wanted.len() == broken.len(), "{} broken records in {TASKS}", wanted.len());
    let mut found =
        letters.iter().map(|letter| original(handler, &letter.record)).collect::<Result<Vec<_>>>()?;
    wanted.sort();
    found.sort();
    same(&topic(handler), &found, &wanted)
}

/// The record that a letter holds, and where the letter says that it lay.
fn original(handler: &str, letter: &Record) -> Result<(i32, i64, Record)> {
    let said = |name: &str| letter.header(name).with_context(|| format!("no header {name}: {letter:?}"));
    ensure!(said("keylane-origin-topic")? == TASKS, "another topic: {letter:?}");
    ensure!(said("keylane-handler")? == handler, "another handler: {letter:?}");
    ensure!(said("keylane-error-class")? == "reject", "not rejected: {letter:?}");
    ensure!(!said("keylane-error")?.is_empty(), "no reason: {letter:?}");
    let place = (said("keylane-origin-partition")?.parse()?, said("keylane-origin-offset")?.parse()?);
    // What the host adds comes after what was there.
    let own = letter.headers.iter().take_while(|(name, _)| !name.starts_with("keylane-"));
    Ok((place.0, place.1, Record { headers: own.cloned().collect(), ..letter.clone() }))
}
