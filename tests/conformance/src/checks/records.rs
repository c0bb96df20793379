//! Records: what a producer gives, a consumer gets, byte for byte.

use std::collections::BTreeSet;

use rdkafka::Offset;

use super::{Check, check};
use crate::clients::{Outgoing, new_topic, producer, read, reader, send};
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[
    check(
        "keys_headers_and_tombstones",
        round_trip,
        &[
            r#"@0 key="k1" value="v1" headers=[]"#,
            r#"@1 key="k1" value="v2" headers=[a="1",a="2",none=null,empty=""]"#,
            r#"@2 key=null value="unkeyed" headers=[]"#,
            r#"@3 key="k1" value=null headers=[why="tombstone"]"#,
            r#"@4 key="" value="" headers=[]"#,
        ],
    ),
    check(
        "compressed_batches",
        compressed,
        &[
            "lz4: 100 records, 100 as sent, offsets 0..100",
            "zstd: 100 records, 100 as sent, offsets 0..100",
            "gzip: 100 records, 100 as sent, offsets 0..100",
            "snappy: 100 records, 100 as sent, offsets 0..100",
        ],
    ),
    check(
        "timestamps",
        timestamps,
        &["old: 0", "two hours ahead: InvalidTimestamp", "read back: Some(1700000000000)"],
    ),
];

fn round_trip(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "round-trip", 1)?;
    let record =
        |key, value, headers| Outgoing { topic: "round-trip", key, value, headers, ..Outgoing::default() };
    let headers: &[(&str, Option<&[u8]>)] =
        &[("a", Some(b"1")), ("a", Some(b"2")), ("none", None), ("empty", Some(b""))];
    let records = [
        record(Some(b"k1".as_slice()), Some(b"v1".as_slice()), &[][..]),
        record(Some(b"k1"), Some(b"v2"), headers),
        record(None, Some(b"unkeyed"), &[]),
        record(Some(b"k1"), None, &[("why", Some(b"tombstone"))]),
        record(Some(b""), Some(b""), &[]),
    ];
    send(&producer(target, &[])?, &records)?;
    let reader = reader(target, "round-trip", 1, Offset::Beginning, &[])?;
    Ok(read(&reader, records.len())?.iter().map(crate::clients::Incoming::line).collect())
}

fn compressed(target: &Target) -> anyhow::Result<Observed> {
    let mut seen = Vec::new();
    for codec in ["lz4", "zstd", "gzip", "snappy"] {
        let topic = format!("compressed-{codec}");
        new_topic(target, &topic, 1)?;
        let producer = producer(target, &[("compression.type", codec), ("linger.ms", "100")])?;
        let body = "the same words again and again ".repeat(50);
        let record = Outgoing { topic: &topic, value: Some(body.as_bytes()), ..Outgoing::default() };
        send(&producer, &[record; 100])?;
        let read = read(&reader(target, &topic, 1, Offset::Beginning, &[])?, 100)?;
        let as_sent = read.iter().filter(|r| r.value.as_deref() == Some(body.as_bytes())).count();
        let offsets: BTreeSet<i64> = read.iter().map(|r| r.offset).collect();
        let (first, last) = (offsets.first().copied().unwrap_or(-1), offsets.last().copied().unwrap_or(-1));
        seen.push(format!(
            "{codec}: {} records, {as_sent} as sent, offsets {first}..{}",
            read.len(),
            last + 1
        ));
    }
    Ok(seen)
}

fn timestamps(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "timestamps", 1)?;
    let producer = producer(target, &[])?;
    let at = |timestamp| Outgoing {
        topic: "timestamps",
        value: Some(b"v"),
        timestamp: Some(timestamp),
        ..Outgoing::default()
    };
    let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let ahead = i64::try_from(since_1970.as_millis())? + 2 * 3_600_000;
    let old = send(&producer, &[at(1_700_000_000_000)])?.join("");
    let future = send(&producer, &[at(ahead)])?.join("");
    let read = read(&reader(target, "timestamps", 1, Offset::Beginning, &[])?, 1)?;
    Ok(vec![
        format!("old: {old}"),
        format!("two hours ahead: {future}"),
        format!("read back: {:?}", read.first().and_then(|r| r.timestamp)),
    ])
}
