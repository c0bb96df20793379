//! A host's status as text: a table of partitions for each handler, and one of the events that wait. Offsets
//! stand as they are typed into other commands, without commas.

use keylane_engine::{LaneStatus, Lanes, PartitionStatus};

use crate::api::{HandlerStatus, HostStatus, PartitionReport};
use crate::print::{Column, columns, grouped};

/// Characters of an error message that are shown; `--json` has all.
const ERROR_CHARACTERS: usize = 100;
/// The phase of a partition whose owner is at work.
const READING: &str = "reading";
/// What stands for nothing.
const NOTHING: &str = "-";

/// The whole status.
pub(super) fn status(status: &HostStatus) -> String {
    let mut parts = vec![format!("fleet {}: {}", plain(&status.fleet), plain(&status.phase))];
    parts.extend(status.handlers.iter().map(handler));
    parts.join("\n\n")
}

fn handler(handler: &HandlerStatus) -> String {
    let mut parts = vec![format!("{}: {}", plain(&handler.name), plain(&handler.health))];
    parts.extend(handler.relay.iter().map(|relay| format!("  its outbox: {}", plain(relay))));
    parts.extend(handler.silent.iter().map(|silent| format!("  {}", plain(silent))));
    let retry = format!(".{}.retry", handler.name);
    let (quiet, shown): (Vec<_>, Vec<_>) =
        handler.partitions.iter().partition(|report| report.topic.ends_with(&retry) && is_quiet(report));
    if !shown.is_empty() {
        parts.push(partitions(&shown));
    }
    if !quiet.is_empty() {
        parts.push(format!("  and {} of retry topics, where nothing waits", partitions_of(quiet.len())));
    }
    parts.extend(waiting(&shown));
    parts.join("\n")
}

fn partitions(partitions: &[&PartitionReport]) -> String {
    use Column::{Figures, Words};
    let head = [
        ("partition", Words),
        ("phase", Words),
        ("watermark", Figures),
        ("lag", Figures),
        ("gap", Figures),
        ("lanes", Words),
        ("", Words),
    ];
    let rows = partitions.iter().map(|report| {
        let owner = report.owner.as_ref();
        let watermark = owner.map(|owner| owner.watermark).or(report.committed);
        [
            place(report),
            phase(report),
            watermark.map_or_else(|| NOTHING.to_owned(), |offset| offset.to_string()),
            report.lag.map_or_else(|| NOTHING.to_owned(), grouped),
            owner.map_or_else(|| NOTHING.to_owned(), |owner| count(owner.gap_records)),
            owner.map_or_else(|| NOTHING.to_owned(), lanes),
            note(report),
        ]
    });
    columns(head, rows)
}

/// Whether a partition is read, has nothing to do, and there is nothing to say of it.
fn is_quiet(report: &PartitionReport) -> bool {
    let idle = report.owner.as_ref().is_none_or(|owner| owner.lanes == Lanes::default());
    report.phase == READING && report.lag.is_none_or(|lag| lag == 0) && idle && note(report).is_empty()
}

/// The owner's phase where it says more than the consumer's.
fn phase(report: &PartitionReport) -> String {
    match &report.owner {
        Some(owner) if report.phase == READING => plain(&owner.phase),
        _ => plain(&report.phase),
    }
}

fn lanes(owner: &PartitionStatus) -> String {
    let lanes = owner.lanes;
    let states = [
        (lanes.ready, "ready"),
        (lanes.running, "running"),
        (lanes.parked, "parked"),
        (lanes.paused, "paused"),
        (lanes.burying, "burying"),
        (lanes.skipping, "skipping"),
    ];
    let some: Vec<String> = states
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, state)| format!("{} {state}", count(number)))
        .collect();
    if some.is_empty() { "idle".to_owned() } else { some.join(", ") }
}

/// What an operator should know first: a fault, a halt, a silence, or what holds the partition up.
fn note(report: &PartitionReport) -> String {
    let owner = report.owner.as_ref();
    let first = [
        report.fault.clone(),
        owner.and_then(|owner| owner.halted.clone()),
        report.silent.clone(),
        owner.and_then(|owner| owner.why_not.clone()),
        owner.and_then(behind),
    ];
    shown(&first.into_iter().flatten().next().unwrap_or_default())
}

/// The event that holds the watermark while others have ended above it.
fn behind(owner: &PartitionStatus) -> Option<String> {
    let blocking = owner.blocking.as_ref().filter(|_| owner.gap_records > 1)?;
    let key = blocking.key.as_ref().map(|key| format!(" of key {key}")).unwrap_or_default();
    Some(format!("held by offset {}{key}", blocking.offset))
}

/// The events that wait, of all partitions; nothing if none does.
fn waiting(partitions: &[&PartitionReport]) -> Option<String> {
    use Column::{Figures, Words};
    let owners = || partitions.iter().filter_map(|report| Some((*report, report.owner.as_ref()?)));
    let rows: Vec<_> =
        owners().flat_map(|(report, owner)| owner.waiting.iter().map(|lane| row(report, lane))).collect();
    if rows.is_empty() {
        return None;
    }
    let head = [
        ("waiting", Words),
        ("offset", Figures),
        ("key", Words),
        ("state", Words),
        ("attempts", Figures),
        ("next try", Figures),
        ("queued", Figures),
        ("last error", Words),
    ];
    let mut text = format!("\n{}", columns(head, rows));
    let more = owners().map(|(_, owner)| owner.waiting_more).fold(0, usize::saturating_add);
    if more > 0 {
        text.push_str(&format!("\n  and {} more", count(more)));
    }
    Some(text)
}

fn row(report: &PartitionReport, lane: &LaneStatus) -> [String; 8] {
    let error = match (&lane.class, &lane.error) {
        (Some(class), Some(error)) => format!("{class}: {error}"),
        (class, error) => class.clone().or_else(|| error.clone()).unwrap_or_else(|| NOTHING.to_owned()),
    };
    [
        place(report),
        lane.offset.to_string(),
        lane.key.as_deref().map_or_else(|| NOTHING.to_owned(), shown),
        plain(&lane.state),
        grouped(lane.attempts.into()),
        lane.next_try_in_ms.map_or_else(|| NOTHING.to_owned(), in_seconds),
        count(lane.queued),
        shown(&error),
    ]
}

fn place(report: &PartitionReport) -> String {
    format!("{}[{}]", plain(&report.topic), report.partition)
}

fn in_seconds(ms: u64) -> String {
    format!("{}.{} s", grouped(ms / 1_000), ms % 1_000 / 100)
}

fn partitions_of(number: usize) -> String {
    if number == 1 { "1 partition".to_owned() } else { format!("{} partitions", count(number)) }
}

fn count(number: usize) -> String {
    grouped(u64::try_from(number).unwrap_or(u64::MAX))
}

/// One line, without what could move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The same, and not too long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(ERROR_CHARACTERS) {
        Some((end, _)) => plain(text.get(..end).unwrap_or(text)) + "…",
        None => plain(text),
    }
}

#[cfg(test)]
mod tests;
