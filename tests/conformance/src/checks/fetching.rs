//! Fetching: waiting for data, limits, and offsets that are not there.

use std::time::{Duration, Instant};

use keylane_test_support::raw_batch;
use rdkafka::Offset;

use super::{Check, check};
use crate::clients::{Outgoing, PATIENCE, error_name, new_topic, producer, reader, send, send_numbers};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check("a_waiting_fetch_is_woken_by_data", woken, &["woken well before the wait ends: true"]),
    check(
        "fetch_limits",
        limits,
        &[
            "a byte gets one whole batch: 1",
            "room for two gets two: 2",
            "room for all gets all: 3",
            "from inside a batch, its start: 1",
            "at the end, nothing: 0",
            "and only after the wait: true",
            "high watermark: 6",
        ],
    ),
    check(
        "an_offset_that_is_not_there",
        out_of_range,
        &[
            "behind the end: 1",
            "before the start: 1",
            "reset=error: AutoOffsetReset",
            "reset=earliest reads from: 0",
        ],
    ),
];

fn woken(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "woken", 1)?;
    let producer = producer(target, &[("linger.ms", "0")])?;
    send(&producer, &[Outgoing { topic: "woken", value: Some(b"first"), ..Outgoing::default() }])?;
    let wait = [("fetch.wait.max.ms", "20000"), ("socket.timeout.ms", "60000")];
    let reader = reader(target, "woken", 1, Offset::Beginning, &wait)?;
    crate::clients::read(&reader, 1)?;
    // Whether or not the next fetch waits already when this is sent, it must not take its full wait.
    let sent = Instant::now();
    send(&producer, &[Outgoing { topic: "woken", value: Some(b"second"), ..Outgoing::default() }])?;
    crate::clients::read(&reader, 1)?;
    Ok(vec![format!("woken well before the wait ends: {}", sent.elapsed() < Duration::from_secs(10))])
}

fn limits(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "limits", 1)?;
    let mut raw = Raw::connect(target)?;
    let batch = raw_batch(&["first", "other"], None)?;
    let size = i32::try_from(batch.len())?;
    for _ in 0..3 {
        raw.produce("limits", -1, batch.clone())?;
    }
    let mut batches = |offset, bytes| -> anyhow::Result<usize> {
        let data = raw.fetch("limits", offset, bytes, 0)?;
        Ok(data.records.map_or(0, |records| records.len() / batch.len()))
    };
    let mut seen = vec![
        format!("a byte gets one whole batch: {}", batches(0, 1)?),
        format!("room for two gets two: {}", batches(0, size * 2)?),
        format!("room for all gets all: {}", batches(0, 1 << 20)?),
        format!("from inside a batch, its start: {}", batches(5, 1 << 20)?),
    ];
    let asked = Instant::now();
    let empty = raw.fetch("limits", 6, 1 << 20, 300)?;
    seen.push(format!("at the end, nothing: {}", empty.records.map_or(0, |r| r.len())));
    seen.push(format!("and only after the wait: {}", asked.elapsed() >= Duration::from_millis(290)));
    seen.push(format!("high watermark: {}", empty.high_watermark));
    Ok(seen)
}

fn out_of_range(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "range", 1)?;
    send_numbers(&producer(target, &[])?, "range", 1, 10)?;
    let mut raw = Raw::connect(target)?;
    let mut seen = vec![
        format!("behind the end: {}", raw.fetch("range", 11, 1 << 20, 0)?.error_code),
        format!("before the start: {}", raw.fetch("range", -1, 1 << 20, 0)?.error_code),
    ];
    let strict = reader(target, "range", 1, Offset::Offset(1000), &[("auto.offset.reset", "error")])?;
    let told = strict.poll(PATIENCE);
    let error = told.and_then(Result::err).map(|error| error_name(&error)).unwrap_or_default();
    seen.push(format!("reset=error: {error}"));
    let lenient = reader(target, "range", 1, Offset::Offset(1000), &[])?;
    let first = crate::clients::read(&lenient, 1)?;
    seen.push(format!("reset=earliest reads from: {}", first.first().map_or(-1, |r| r.offset)));
    Ok(seen)
}
