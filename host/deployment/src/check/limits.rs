//! Checks `[limits]`.

use toml::Spanned;

use super::Checked;
use crate::bounds::{self, Bounds};
use crate::document::Document;
use crate::manifest::Limits;
use crate::quantity::Time;
use crate::raw::RawLimits;

/// Checks what one event may use.
pub(super) fn limits(document: &Document, raw: RawLimits) -> Checked<Limits> {
    let time = bounds::TIME.check(document, raw.time)?;
    let host_call = bounds::HOST_CALL.check(document, raw.host_call)?;
    let slice = bounds::SLICE.check(document, raw.slice)?;
    Ok(Limits {
        memory_bytes: bounds::MEMORY.check(document, raw.memory)?.bytes(),
        table_elements: bounds::TABLE_ELEMENTS.check(document, raw.table_elements)?.get(),
        time: time.duration(),
        host_call: host_call.duration(),
        concurrency: bounds::CONCURRENCY.check(document, raw.concurrency)?.get(),
        run_events: bounds::RUN_EVENTS.check(document, raw.run_events)?.get(),
        slice: slice.duration(),
        stuck_after: stuck_after(document, raw.stuck_after, Time { ms: slice.ms + time.ms }, host_call)?
            .duration(),
    })
}

/// A run that keeps its limits is not stuck: an event may begin at the end of the slice and take all of
/// its time, and one host call beside.
fn stuck_after(
    document: &Document,
    given: Option<Spanned<Time>>,
    run: Time,
    host_call: Time,
) -> Checked<Time> {
    let span = given.as_ref().map(Spanned::span);
    let usual = Time { ms: run.ms + host_call.ms }.max(bounds::STUCK_AFTER.default);
    let stuck_after = Bounds { default: usual, ..bounds::STUCK_AFTER }.check(document, given)?;
    match span {
        Some(span) if stuck_after < run => Err(document
            .refuse(
                span,
                format!("a run may rightly take {run} (`slice` and `time`), and would be reported as stuck"),
            )
            .with_hint(format!("write {run:?} at least, or lower `time`", run = run.to_string()))),
        _ => Ok(stuck_after),
    }
}
