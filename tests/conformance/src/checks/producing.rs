//! Producing: idempotence, sequences, acknowledgements, what is too large or broken.

use std::collections::BTreeSet;

use bytes::BytesMut;
use kafka_protocol::messages::InitProducerIdRequest;
use keylane_test_support::{RawProducer, raw_batch};
use rdkafka::Offset;

use super::{Check, check};
use crate::clients::{Outgoing, new_topic, producer, read, reader, send, send_numbers, until};
use crate::raw::Raw;
use crate::{Observed, Target};

const MANY: i32 = 20_000;

pub(super) const CHECKS: &[Check] = &[
    check("many_records_exactly", many, &["20000 records, 20000 places, 20000 values", "then quiet: true"]),
    check(
        "producer_sequences",
        sequences,
        &[
            "an id: true, epoch 0",
            "another id: true",
            "first batch: (0, 0)",
            "second batch: (0, 2)",
            "second again: (0, 2)",
            "first again: (0, 0)",
            "a gap: 45",
            "next epoch, not from 0: 45",
            "next epoch: (0, 3)",
            "old epoch: 47",
            "end: 4",
        ],
    ),
    check("too_large_a_record", too_large, &["MessageSizeTooLarge", "the next one: 0"]),
    check("broken_batches", broken, &["checksum: 2", "two batches: 87", "nothing stored: 0"]),
    check("acknowledgements", acknowledgements, &["acks=2: 21", "acks=1: 0", "acks=0 arrives: true"]),
];

fn many(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "many", 4)?;
    let producer = producer(target, &[("enable.idempotence", "true")])?;
    send_numbers(&producer, "many", 4, MANY)?;
    let reader = reader(target, "many", 4, Offset::Beginning, &[])?;
    let records = read(&reader, usize::try_from(MANY)?)?;
    let places: BTreeSet<_> = records.iter().map(|r| (r.partition, r.offset)).collect();
    let values: BTreeSet<_> = records.iter().map(|r| r.value.clone()).collect();
    let quiet = reader.poll(std::time::Duration::from_millis(700)).is_none();
    Ok(vec![
        format!("{} records, {} places, {} values", records.len(), places.len(), values.len()),
        format!("then quiet: {quiet}"),
    ])
}

fn sequences(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "sequences", 1)?;
    let mut raw = Raw::connect(target)?;
    let ask = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    // A fresh Kafka needs a moment before it gives out ids.
    until("producer ids", || Ok(raw.client().call(4, &ask)?.error_code == 0))?;
    let given = raw.client().call(4, &ask)?;
    let other = raw.client().call(4, &ask)?;
    let id = given.producer_id.0;
    let mut write = |values: &[&str], epoch, first_sequence| {
        let batch = raw_batch(values, Some(RawProducer { id, epoch, first_sequence }))?;
        raw.produce("sequences", -1, batch)
    };
    let mut seen = vec![
        format!("an id: {}, epoch {}", id >= 0, given.producer_epoch),
        format!("another id: {}", other.producer_id.0 != id),
    ];
    seen.push(format!("first batch: {:?}", write(&["a", "b"], 0, 0)?));
    seen.push(format!("second batch: {:?}", write(&["c"], 0, 2)?));
    seen.push(format!("second again: {:?}", write(&["c"], 0, 2)?));
    seen.push(format!("first again: {:?}", write(&["a", "b"], 0, 0)?));
    seen.push(format!("a gap: {}", write(&["d"], 0, 9)?.0));
    seen.push(format!("next epoch, not from 0: {}", write(&["d"], 1, 3)?.0));
    seen.push(format!("next epoch: {:?}", write(&["d"], 1, 0)?));
    seen.push(format!("old epoch: {}", write(&["e"], 0, 3)?.0));
    seen.push(format!("end: {}", raw.list_offset("sequences", -1)?.1));
    Ok(seen)
}

fn too_large(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "too-large", 1)?;
    let producer = producer(target, &[("message.max.bytes", "4000000")])?;
    let body = vec![b'x'; 2_000_000];
    let large = Outgoing { topic: "too-large", value: Some(&body), ..Outgoing::default() };
    let small = Outgoing { topic: "too-large", value: Some(b"small"), ..Outgoing::default() };
    let refused = send(&producer, &[large])?.join("");
    Ok(vec![refused, format!("the next one: {}", send(&producer, &[small])?.join(""))])
}

fn broken(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "broken", 1)?;
    let mut raw = Raw::connect(target)?;
    let whole = raw_batch(&["a", "b"], None)?;
    let mut flipped = BytesMut::from(&whole[..]);
    if let Some(last) = flipped.last_mut() {
        *last ^= 1;
    }
    let two = [whole.clone(), whole].concat();
    Ok(vec![
        format!("checksum: {}", raw.produce("broken", -1, flipped.freeze())?.0),
        format!("two batches: {}", raw.produce("broken", -1, two.into())?.0),
        format!("nothing stored: {}", raw.list_offset("broken", -1)?.1),
    ])
}

fn acknowledgements(target: &Target) -> anyhow::Result<Observed> {
    new_topic(target, "acks", 1)?;
    let mut raw = Raw::connect(target)?;
    let two = raw.produce("acks", 2, raw_batch(&["two"], None)?)?.0;
    let one = raw.produce("acks", 1, raw_batch(&["one"], None)?)?.0;
    let producer = producer(target, &[("acks", "0")])?;
    send(&producer, &[Outgoing { topic: "acks", value: Some(b"zero"), ..Outgoing::default() }])?;
    until("the record sent without acks", || Ok(raw.list_offset("acks", -1)?.1 == 2))?;
    Ok(vec![format!("acks=2: {two}"), format!("acks=1: {one}"), "acks=0 arrives: true".to_owned()])
}
