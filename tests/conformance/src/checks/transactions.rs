//! What readers see of transactions: open, committed and aborted ones, and the markers that end them.

use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_response::PartitionData;
use keylane_test_support::raw_batch;

use super::{Check, check};
use crate::clients::new_topic_of_one_segment;
use crate::raw::{READ_COMMITTED, READ_UNCOMMITTED, Raw, Txn};
use crate::{Observed, Target};

/// More than any check writes.
const ALL: i32 = 1 << 20;

pub(super) const CHECKS: &[Check] = &[
    check(
        "an_open_transaction_hides_what_follows",
        open,
        &[
            "uncommitted: batches at [0, 1, 3], end 4, stable 1, aborted None",
            "committed: batches at [0], end 4, stable 1, aborted Some([])",
            "committed, from behind the stable offset: batches at [], end 4, stable 1, aborted Some([])",
            "committed, from behind the end: error 1",
            "latest: (0, 4, -1) and (0, 1, -1)",
            "earliest: (0, 0, -1) and (0, 0, -1)",
            "by a time in it: (0, 2, 1001) and (0, -1, -1)",
            "after the commit: batches at [0, 1, 3, 4], end 5, stable 5, aborted Some([])",
            "latest: (0, 5, -1) and (0, 5, -1)",
        ],
    ),
    check(
        "aborted_transactions_are_listed",
        aborted,
        &[
            "two open: end 3, stable 0",
            "one committed: end 4, stable 1",
            "all ended: batches at [0, 1, 2, 3, 4, 5, 6, 7, 8], end 9, stable 9, aborted Some([(1, 1), (1, 5)])",
            "from 5: batches at [5, 6, 7, 8], end 9, stable 9, aborted Some([(1, 5)])",
            "from 7: batches at [7, 8], end 9, stable 9, aborted Some([])",
            "uncommitted: batches at [0, 1, 2, 3, 4, 5, 6, 7, 8], end 9, stable 9, aborted None",
        ],
    ),
    check(
        "markers_of_transactions",
        markers,
        &[
            "commit: 78 bytes, attributes 30, producer true, epoch 0, sequence -1, key 00 00 00 01, value 00 00 00 00 00 00",
            "abort: 78 bytes, attributes 30, producer true, epoch 0, sequence -1, key 00 00 00 00, value 00 00 00 00 00 00",
            "a partition without records: end 1",
            "by their time: found",
        ],
    ),
    check(
        "the_end_of_a_transaction_wakes_a_waiting_reader",
        woken,
        &["woken well before the wait ends: true", "batches at [0, 1], end 2, stable 2, aborted Some([])"],
    ),
    check(
        "records_deleted_under_an_open_transaction",
        deleted,
        &[
            "deleted: (0, 2)",
            "then: batches at [], end 3, stable 2, aborted Some([])",
            "after its end: batches at [2, 3], end 4, stable 4, aborted Some([(0, 0)])",
        ],
    ),
];

/// What a fetch gave, without numbers that differ from run to run.
fn told(data: &PartitionData, producers: &[i64]) -> String {
    if data.error_code != 0 {
        return format!("error {}", data.error_code);
    }
    let name = |id: i64| producers.iter().position(|producer| *producer == id).unwrap_or(usize::MAX);
    let aborted = data.aborted_transactions.as_ref();
    let aborted =
        aborted.map(|all| all.iter().map(|a| (name(a.producer_id.0), a.first_offset)).collect::<Vec<_>>());
    let batches: Vec<i64> = batches(data).into_iter().map(|(offset, _)| offset).collect();
    let (end, stable) = (data.high_watermark, data.last_stable_offset);
    format!("batches at {batches:?}, end {end}, stable {stable}, aborted {aborted:?}")
}

/// The batches of a fetch: each one's offset and bytes.
fn batches(data: &PartitionData) -> Vec<(i64, &[u8])> {
    let mut rest = data.records.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    let number = |bytes: Option<&[u8]>| bytes.and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes);
    while rest.len() > 12 {
        let length = rest.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let Some((batch, after)) = rest.split_at_checked(length as usize + 12) else { break };
        found.push((number(batch.get(..8)), batch));
        rest = after;
    }
    found
}

fn open(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-open";
    new_topic_of_one_segment(target, topic)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    raw.produce(topic, -1, raw_batch(&["before"], None)?)?;
    raw.add(&txn, &[(topic, 0)])?;
    raw.produce_in(topic, topic, txn.batch(&["a", "b"], 0)?)?;
    raw.produce(topic, -1, raw_batch(&["after"], None)?)?;
    let mut seen = Vec::new();
    let mut look = |raw: &mut Raw, what: &str, isolation, offset| -> anyhow::Result<()> {
        let data = raw.fetch_isolated(topic, isolation, offset, ALL, 0)?;
        seen.push(format!("{what}: {}", told(&data, &[])));
        Ok(())
    };
    look(&mut raw, "uncommitted", READ_UNCOMMITTED, 0)?;
    look(&mut raw, "committed", READ_COMMITTED, 0)?;
    look(&mut raw, "committed, from behind the stable offset", READ_COMMITTED, 3)?;
    look(&mut raw, "committed, from behind the end", READ_COMMITTED, 5)?;
    for (what, time) in [("latest", -1), ("earliest", -2), ("by a time in it", 1001)] {
        let (any, committed) = (raw.list_offset(topic, time)?, raw.list_committed(topic, time)?);
        seen.push(format!("{what}: {any:?} and {committed:?}"));
    }
    raw.end(&txn, true)?;
    raw.await_end(topic, 5)?;
    let data = raw.fetch_isolated(topic, READ_COMMITTED, 0, ALL, 0)?;
    seen.push(format!("after the commit: {}", told(&data, &[])));
    let latest = (raw.list_offset(topic, -1)?, raw.list_committed(topic, -1)?);
    seen.push(format!("latest: {:?} and {:?}", latest.0, latest.1));
    Ok(seen)
}

fn aborted(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-aborted";
    new_topic_of_one_segment(target, topic)?;
    let mut raw = Raw::connect(target)?;
    let (a, b) = (raw.begin("txn-aborted-a")?, raw.begin("txn-aborted-b")?);
    let write = |raw: &mut Raw, txn: &Txn, sequence| -> anyhow::Result<()> {
        raw.add(txn, &[(topic, 0)])?;
        let (error, _) = raw.produce_in(&txn.name, topic, txn.batch(&["v"], sequence)?)?;
        anyhow::ensure!(error == 0, "produce: {error}");
        Ok(())
    };
    write(&mut raw, &a, 0)?;
    write(&mut raw, &b, 0)?;
    write(&mut raw, &a, 1)?;
    let mut seen = Vec::new();
    let mut look = |raw: &mut Raw, what: &str| -> anyhow::Result<()> {
        let data = raw.fetch_isolated(topic, READ_COMMITTED, 0, ALL, 0)?;
        seen.push(format!("{what}: end {}, stable {}", data.high_watermark, data.last_stable_offset));
        Ok(())
    };
    look(&mut raw, "two open")?;
    raw.end(&a, true)?;
    raw.await_end(topic, 1)?;
    look(&mut raw, "one committed")?;
    raw.end(&b, false)?;
    raw.await_end(topic, 5)?;
    write(&mut raw, &b, 1)?;
    raw.end(&b, false)?;
    raw.await_end(topic, 7)?;
    write(&mut raw, &a, 2)?;
    raw.end(&a, true)?;
    raw.await_end(topic, 9)?;
    for (what, isolation, offset) in [
        ("all ended", READ_COMMITTED, 0),
        ("from 5", READ_COMMITTED, 5),
        ("from 7", READ_COMMITTED, 7),
        ("uncommitted", READ_UNCOMMITTED, 0),
    ] {
        let data = raw.fetch_isolated(topic, isolation, offset, ALL, 0)?;
        seen.push(format!("{what}: {}", told(&data, &[a.id, b.id])));
    }
    Ok(seen)
}

fn markers(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-markers";
    let bare = "txn-markers-bare";
    new_topic_of_one_segment(target, topic)?;
    new_topic_of_one_segment(target, bare)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    for (sequence, commit) in [(0, true), (1, false)] {
        raw.add(&txn, &[(topic, 0)])?;
        raw.produce_in(topic, topic, txn.batch(&["v"], sequence)?)?;
        raw.end(&txn, commit)?;
        raw.await_end(topic, i64::from(sequence + 1) * 2)?;
    }
    let data = raw.fetch(topic, 0, ALL, 0)?;
    let mut seen = Vec::new();
    for (what, (_, batch)) in ["commit", "abort"].iter().zip(batches(&data).into_iter().skip(1).step_by(2)) {
        seen.push(format!("{what}: {}", marker(batch, txn.id)));
    }
    raw.add(&txn, &[(bare, 0)])?;
    raw.end(&txn, true)?;
    raw.await_end(bare, 1)?;
    seen.push(format!("a partition without records: end {}", raw.list_offset(bare, -1)?.1));
    let later = raw.list_offset(topic, 2_000)?.1;
    seen.push(format!("by their time: {}", if later == 1 { "found" } else { "not found" }));
    Ok(seen)
}

/// What stands in the header of a marker, and in its one record.
fn marker(batch: &[u8], producer: i64) -> String {
    let at = |from: usize, bytes: usize| batch.get(from..from + bytes).unwrap_or_default();
    let short = |from: usize| at(from, 2).try_into().map_or(0, i16::from_be_bytes);
    let sequence = at(53, 4).try_into().map_or(0, i32::from_be_bytes);
    let same = at(43, 8).try_into().map_or(0, i64::from_be_bytes) == producer;
    let bytes =
        |from, count| at(from, count).iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    format!(
        "{} bytes, attributes {:x}, producer {same}, epoch {}, sequence {sequence}, key {}, value {}",
        batch.len(),
        short(21),
        short(51),
        bytes(66, 4),
        bytes(71, 6)
    )
}

fn woken(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-woken";
    new_topic_of_one_segment(target, topic)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    raw.add(&txn, &[(topic, 0)])?;
    raw.produce_in(topic, topic, txn.batch(&["v"], 0)?)?;
    let mut waiting = Raw::connect(target)?;
    let started = Instant::now();
    let reader = std::thread::spawn(move || waiting.fetch_isolated(topic, READ_COMMITTED, 0, ALL, 20_000));
    // Whether or not the reader waits already when it is ended, it must not take its full wait.
    raw.end(&txn, true)?;
    let data = reader.join().map_err(|_panic| anyhow::anyhow!("the reader panicked"))??;
    Ok(vec![
        format!("woken well before the wait ends: {}", started.elapsed() < Duration::from_secs(15)),
        told(&data, &[]),
    ])
}

fn deleted(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-deleted";
    new_topic_of_one_segment(target, topic)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    raw.add(&txn, &[(topic, 0)])?;
    for sequence in 0..3 {
        raw.produce_in(topic, topic, txn.batch(&["v"], sequence)?)?;
    }
    let mut seen = vec![format!("deleted: {:?}", raw.delete_records(topic, 2)?)];
    let then = raw.fetch_isolated(topic, READ_COMMITTED, 2, ALL, 0)?;
    seen.push(format!("then: {}", told(&then, &[txn.id])));
    raw.end(&txn, false)?;
    raw.await_end(topic, 4)?;
    let after = raw.fetch_isolated(topic, READ_COMMITTED, 2, ALL, 0)?;
    seen.push(format!("after its end: {}", told(&after, &[txn.id])));
    Ok(seen)
}
