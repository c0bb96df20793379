//! Who may write under a transactional id: epochs, fencing, time-outs, and what is refused.

use anyhow::Context;
use bytes::Bytes;
use keylane_test_support::{raw_batch, raw_transactional_batch};

use super::{Check, check};
use crate::clients::{new_topic, until};
use crate::raw::{READ_COMMITTED, Raw};
use crate::{Observed, Target};

const TIMEOUT_MS: i32 = 60_000;
/// The longest that Kafka lets a transaction take, by default.
const LONGEST_MS: i32 = 900_000;

pub(super) const CHECKS: &[Check] = &[
    check(
        "a_new_transactional_producer_fences_the_old_one",
        fenced,
        &[
            "the same number: true, epochs 0 and 1",
            "the old one adds partitions: [90], in version 0 [47]",
            "adds offsets: 90",
            "ends: 90, in version 1: 47",
            "commits offsets: 47",
            "writes: 47",
            "the new one: [0] (0, 0) 0",
            "the old one writes then: 47",
        ],
    ),
    check(
        "a_new_producer_aborts_an_open_transaction",
        taken_over,
        &["at first: 51", "then: the same number true, epoch 2", "aborted: 1", "the old one ends: 90"],
    ),
    check(
        "a_transactional_producer_that_bumps_its_epoch",
        bumped,
        &[
            "owner: (0, true, 1)",
            "sent again: (0, true, 1)",
            "once more: (0, true, 2)",
            "long past: (90, false, -1)",
            "another number: (90, false, -1)",
            "without an id: (0, false, 0)",
            "an old one while one is open: 51",
            "its owner ends it then: 90",
            "then: (0, true, 3)",
        ],
    ),
    check(
        "refused_to_a_transactional_producer",
        refused,
        &[
            "no time: 50",
            "too much time: 50",
            "the longest: 0",
            "an empty name: 42",
            "nobody adds partitions: [49]",
            "nobody ends: 49",
            "another number adds: [49]",
            "another number ends: 49",
            "an unknown topic among others: [55, 3]",
            "an unknown partition: [3]",
            "end of nothing: 48",
            "commit: 0, again: 0, then abort: 48",
            "abort: 0, again: 0, then commit: 48",
        ],
    ),
    check(
        "batches_that_do_not_fit_a_transaction",
        batches,
        &[
            "partition not added: 48",
            "no transaction at all: 48",
            "a marker by a client: 87",
            "without the transaction's name: 53",
            "added: (0, 0)",
            "not transactional in an open one: 48",
            "sent again: (0, 0)",
            "a gap: 45",
            "goes on: (0, 1)",
            "goes on in the next one: (0, 3)",
            "after a new epoch from where it was: 45",
            "from 0: (0, 5)",
            "sent again after the end: 48",
        ],
    ),
    check(
        "a_transaction_that_takes_too_long",
        late,
        &[
            "aborted by the broker: 1",
            "its end: 90",
            "its next batch: 47",
            "a bump of its epoch: (0, 1)",
            "the next producer: the same number true, epoch 2",
        ],
    ),
];

fn fenced(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-fenced";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let old = raw.begin(topic)?;
    let new = raw.begin(topic)?;
    let mut seen =
        vec![format!("the same number: {}, epochs {} and {}", old.id == new.id, old.epoch, new.epoch)];
    let partitions = &[(topic, 0)];
    let (late, early) = (raw.add(&old, partitions)?, raw.add_in(0, &old, partitions)?);
    seen.push(format!("the old one adds partitions: {late:?}, in version 0 {early:?}"));
    seen.push(format!("adds offsets: {}", raw.add_group(&old, topic)?));
    seen.push(format!("ends: {}, in version 1: {}", raw.end(&old, true)?, raw.end_in(1, &old, true)?));
    let code = raw.commit_in(&old, topic, None, (topic, 0), (1, ""))?;
    seen.push(format!("commits offsets: {code}"));
    seen.push(format!("writes: {}", raw.produce_in(topic, topic, old.batch(&["old"], 0)?)?.0));
    let added = raw.add(&new, partitions)?;
    let written = raw.produce_in(topic, topic, new.batch(&["new"], 0)?)?;
    seen.push(format!("the new one: {added:?} {written:?} {}", raw.end(&new, true)?));
    seen.push(format!(
        "the old one writes then: {}",
        raw.produce_in(topic, topic, old.batch(&["old"], 0)?)?.0
    ));
    Ok(seen)
}

fn taken_over(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-taken";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let old = raw.begin(topic)?;
    raw.add(&old, &[(topic, 0)])?;
    raw.produce_in(topic, topic, old.batch(&["old"], 0)?)?;
    let mut seen = vec![format!("at first: {}", raw.init(Some(topic), TIMEOUT_MS, None)?.0)];
    let new = raw.begin(topic)?;
    seen.push(format!("then: the same number {}, epoch {}", old.id == new.id, new.epoch));
    raw.await_end(topic, 2)?;
    let data = raw.fetch_isolated(topic, READ_COMMITTED, 0, 1 << 20, 0)?;
    seen.push(format!("aborted: {}", data.aborted_transactions.map_or(0, |all| all.len())));
    seen.push(format!("the old one ends: {}", raw.end(&old, true)?));
    Ok(seen)
}

fn bumped(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-bumped";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let first = raw.begin(topic)?;
    let mut seen = Vec::new();
    for (what, name, known) in [
        ("owner", Some(topic), (first.id, 0)),
        ("sent again", Some(topic), (first.id, 0)),
        ("once more", Some(topic), (first.id, 1)),
        ("long past", Some(topic), (first.id, 0)),
        ("another number", Some(topic), (first.id + 100_000, 2)),
        ("without an id", None, (first.id, 2)),
    ] {
        let (error, id, epoch) = raw.init(name, TIMEOUT_MS, Some(known))?;
        seen.push(format!("{what}: {:?}", (error, id == first.id, epoch)));
    }
    let owner = first.at(2);
    raw.add(&owner, &[(topic, 0)])?;
    raw.produce_in(topic, topic, owner.batch(&["v"], 0)?)?;
    let past = raw.init(Some(topic), TIMEOUT_MS, Some((first.id, 0)))?.0;
    seen.push(format!("an old one while one is open: {past}"));
    seen.push(format!("its owner ends it then: {}", raw.end(&owner, true)?));
    let known = Some((first.id, 2));
    let mut then = (0, 0, 0);
    until("the abort", || {
        then = raw.init(Some(topic), TIMEOUT_MS, known)?;
        Ok(then.0 != 51)
    })?;
    seen.push(format!("then: {:?}", (then.0, then.1 == first.id, then.2)));
    Ok(seen)
}

fn refused(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-refused";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin("txn-refused-a")?;
    let nobody = crate::raw::Txn { name: "txn-nobody".to_owned(), ..txn.clone() };
    let other = crate::raw::Txn { id: txn.id + 100_000, ..txn.clone() };
    let mut ask = |name: &str, timeout_ms| anyhow::Ok(raw.init(Some(name), timeout_ms, None)?.0);
    let mut seen = vec![
        format!("no time: {}", ask("txn-refused-b", 0)?),
        format!("too much time: {}", ask("txn-refused-b", LONGEST_MS + 1)?),
        format!("the longest: {}", ask("txn-refused-b", LONGEST_MS)?),
        format!("an empty name: {}", ask("", TIMEOUT_MS)?),
    ];
    let here = &[(topic, 0)];
    seen.push(format!("nobody adds partitions: {:?}", raw.add(&nobody, here)?));
    seen.push(format!("nobody ends: {}", raw.end(&nobody, true)?));
    seen.push(format!("another number adds: {:?}", raw.add(&other, here)?));
    seen.push(format!("another number ends: {}", raw.end(&other, true)?));
    let mixed = raw.add(&txn, &[(topic, 0), ("txn-refused-none", 0)])?;
    seen.push(format!("an unknown topic among others: {mixed:?}"));
    seen.push(format!("an unknown partition: {:?}", raw.add(&txn, &[(topic, 7)])?));
    seen.push(format!("end of nothing: {}", raw.end(&txn, true)?));
    for (commit, name, opposite) in [(true, "commit", "abort"), (false, "abort", "commit")] {
        raw.add(&txn, here)?;
        let (first, again) = (raw.end(&txn, commit)?, raw.end(&txn, commit)?);
        let then = raw.end(&txn, !commit)?;
        seen.push(format!("{name}: {first}, again: {again}, then {opposite}: {then}"));
    }
    Ok(seen)
}

/// Produces one batch to the topic of its transaction's name.
fn write(raw: &mut Raw, seen: &mut Observed, what: &str, batch: Bytes) -> anyhow::Result<()> {
    let topic = "txn-batches";
    let (error, offset) = raw.produce_in(topic, topic, batch)?;
    let said = if error == 0 { format!("{:?}", (error, offset)) } else { error.to_string() };
    seen.push(format!("{what}: {said}"));
    Ok(())
}

fn batches(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-batches";
    new_topic(target, topic, 1)?;
    new_topic(target, "txn-batches-other", 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin(topic)?;
    let mut seen = Vec::new();
    raw.add(&txn, &[("txn-batches-other", 0)])?;
    write(&mut raw, &mut seen, "partition not added", txn.batch(&["a"], 0)?)?;
    let ended = raw.end(&txn, true)?;
    anyhow::ensure!(ended == 0, "the first end: {ended}");
    raw.await_end("txn-batches-other", 1).context("the first end")?;
    write(&mut raw, &mut seen, "no transaction at all", txn.batch(&["a"], 0)?)?;
    raw.add(&txn, &[(topic, 0)])?;
    write(&mut raw, &mut seen, "a marker by a client", raw_transactional_batch(&["a"], txn.raw(0), true)?)?;
    let nameless = raw.produce(topic, -1, txn.batch(&["a"], 0)?).map_or(-1, |(error, _)| error);
    let mut raw = Raw::connect(target)?;
    write(&mut raw, &mut seen, "added", txn.batch(&["a"], 0)?)?;
    write(&mut raw, &mut seen, "not transactional in an open one", raw_batch(&["b"], Some(txn.raw(1)))?)?;
    write(&mut raw, &mut seen, "sent again", txn.batch(&["a"], 0)?)?;
    write(&mut raw, &mut seen, "a gap", txn.batch(&["b"], 5)?)?;
    write(&mut raw, &mut seen, "goes on", txn.batch(&["b"], 1)?)?;
    let ended = raw.end(&txn, true)?;
    anyhow::ensure!(ended == 0, "the second end: {ended}, after {seen:?}");
    raw.await_end(topic, 3).context(format!("the second end, after {seen:?}"))?;
    raw.add(&txn, &[(topic, 0)])?;
    write(&mut raw, &mut seen, "goes on in the next one", txn.batch(&["c"], 2)?)?;
    raw.end(&txn, false)?;
    raw.await_end(topic, 5).context(format!("the third end, after {seen:?}"))?;
    let next = raw.begin(topic)?;
    raw.add(&next, &[(topic, 0)])?;
    write(&mut raw, &mut seen, "after a new epoch from where it was", next.batch(&["d"], 3)?)?;
    write(&mut raw, &mut seen, "from 0", next.batch(&["d"], 0)?)?;
    raw.end(&next, true)?;
    raw.await_end(topic, 7)?;
    write(&mut raw, &mut seen, "sent again after the end", next.batch(&["d"], 0)?)?;
    seen.insert(3, format!("without the transaction's name: {nameless}"));
    Ok(seen)
}

fn late(target: &Target) -> anyhow::Result<Observed> {
    let topic = "txn-late";
    new_topic(target, topic, 1)?;
    let mut raw = Raw::connect(target)?;
    let txn = raw.begin_with(topic, 500)?;
    raw.add(&txn, &[(topic, 0)])?;
    raw.produce_in(topic, topic, txn.batch(&["v"], 0)?)?;
    // Kafka looks every ten seconds.
    raw.await_end(topic, 2)?;
    let data = raw.fetch_isolated(topic, READ_COMMITTED, 0, 1 << 20, 0)?;
    let mut seen =
        vec![format!("aborted by the broker: {}", data.aborted_transactions.map_or(0, |all| all.len()))];
    seen.push(format!("its end: {}", raw.end(&txn, true)?));
    seen.push(format!("its next batch: {}", raw.produce_in(topic, topic, txn.batch(&["v"], 1)?)?.0));
    let mut then = (0, 0, 0);
    until("the markers", || {
        then = raw.init(Some(topic), 500, Some((txn.id, txn.epoch)))?;
        Ok(then.0 != 51)
    })?;
    seen.push(format!("a bump of its epoch: {:?}", (then.0, then.2)));
    let next = raw.begin(topic)?;
    seen.push(format!("the next producer: the same number {}, epoch {}", next.id == txn.id, next.epoch));
    Ok(seen)
}
