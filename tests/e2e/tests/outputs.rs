//! A handler without a database that is exactly once: hosts are killed in the middle of its work, and a reader
//! of committed transactions finds what it gave out once for each event, in the order of each key.

mod on_brokers;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::Stored;
use keylane_e2e::fleet::{BROKER_PROPERTIES, CLASSIC, CONSUMER, Fleet, LIMIT, until_each_reads};
use keylane_e2e::member::Host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::topics::{Topics, by_key, numbered};
use keylane_test_support::{signal, waiting};
use on_brokers::{Check, On, copies};

const PARTITIONS: i32 = 4;
/// Of each partition.
const KEYS: usize = 10;
/// Records of a partition that are written at once.
const STEP: usize = 2_500;
/// How often a host is looked for that is in the middle of its work.
const LOOKS_MAX: usize = 20;
/// Hosts that are killed.
const KILLED: usize = 3;
/// What the manifest says of it.
const EXACTLY_ONCE: &str = "\n[delivery]\nguarantee = \"exactly-once\"\n";

const CHECKS: &[Check] = &[
    ("each_output_is_there_once_whoever_is_killed", On::Every, classic),
    ("each_output_of_a_kip_848_group_is_there_once", On::Kafka, consumer),
];

fn main() -> ExitCode {
    on_brokers::run("how outputs are exactly once", BROKER_PROPERTIES, CHECKS)
}

fn classic(bootstrap: &str) -> Result<()> {
    are_killed(bootstrap, "cut-classic", CLASSIC)
}

fn consumer(bootstrap: &str) -> Result<()> {
    are_killed(bootstrap, "cut-consumer", CONSUMER)
}

/// One host after the other is killed between two of its transactions or in one, while others join and take over.
fn are_killed(bootstrap: &str, topic: &str, kafka: &str) -> Result<()> {
    let topics = Topics::new(bootstrap)?;
    topics.create(topic, PARTITIONS)?;
    let fleet = Fleet::new(bootstrap, topic, &[topic])?;
    fleet.subscribe(EXACTLY_ONCE)?;
    let mut written = Vec::new();
    for _ in 0..KILLED {
        let host = fleet.start(kafka)?;
        until_each_reads(&[&host], &[2 * PARTITIONS as usize])?;
        let mut cut = 0.0;
        let mut looks = 0;
        // It begins with all of it before it, is stopped after its next transaction, and killed as it stands there.
        while !is_behind(bootstrap, &fleet)? || cut == 0.0 {
            looks += 1;
            ensure!(looks <= LOOKS_MAX, "no host is found in the middle; {}", host.process.last_words());
            signal(host.process.id(), "STOP")?;
            let from = written.len() / PARTITIONS as usize;
            for partition in 0..PARTITIONS {
                let records = numbered(&format!("{topic}-{partition}"), from..from + STEP, KEYS);
                topics.write(topic, partition, &records)?;
                written.extend(records);
            }
            signal(host.process.id(), "CONT")?;
            cut = until_it_has_cut(&host, cut)?;
            signal(host.process.id(), "STOP")?;
        }
        host.process.kill()?;
    }
    let (first, second) = (fleet.start(kafka)?, fleet.start(kafka)?);
    fleet.until_done().with_context(|| first.process.last_words())?;
    check(bootstrap, topic, &by_key(&written))?;
    first.stop()?;
    second.stop()
}

/// Waits until this host has committed more records by transactions than so many. Answers how many.
fn until_it_has_cut(host: &Host, before: f64) -> Result<f64> {
    waiting::closely("a transaction is committed", LIMIT, || {
        // One that has just begun does not answer yet.
        let cut = host.metrics().map(|metrics| metrics.sum("keylane_cut_records_total", &[]));
        Ok(cut.ok().filter(|cut| *cut > before))
    })
    .with_context(|| host.process.last_words())
}

/// Whether the group has not committed all there is. Of what an open transaction may change nothing is told until
/// the broker has ended that, which takes Kafka up to ten seconds more than the transaction's own time.
fn is_behind(bootstrap: &str, fleet: &Fleet) -> Result<bool> {
    waiting::until("the group's offsets", LIMIT, || {
        let Ok(positions) = Onlooker::new(bootstrap).positions(&[fleet.subscription()]) else {
            return Ok(None);
        };
        Ok(Some(positions.iter().any(|position| position.committed.unwrap_or_default() < position.end)))
    })
}

/// Judges what is seen of this topic's events.
fn check(bootstrap: &str, topic: &str, expected: &[(String, Vec<String>)]) -> Result<()> {
    let all: usize = expected.iter().map(|(_, values)| values.len()).sum();
    let is_of_topic = |copy: &Stored| copy.record.key.as_ref().is_some_and(|key| key.starts_with(topic));
    // The end of the last transaction may reach its topics a little later than the group's offsets.
    let seen = waiting::until("each event's record", LIMIT, || {
        let mut seen = copies(bootstrap)?;
        seen.retain(is_of_topic);
        Ok((seen.len() >= all).then_some(seen))
    })?;
    let mut by_their_key: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for copy in &seen {
        by_their_key.entry(copy.record.key.as_deref().unwrap_or_default()).or_default().push(copy);
    }
    for (key, values) in expected {
        let mut copies = by_their_key.remove(key.as_str()).unwrap_or_default();
        copies.sort_by_key(|copy| (copy.partition, copy.offset));
        let found: Vec<&str> = copies.iter().filter_map(|copy| copy.record.value.as_deref()).collect();
        let first = found.iter().zip(values).position(|(found, value)| *found != value.as_str());
        ensure!(
            first.is_none() && found.len() == values.len(),
            "the key {key}: {} values were written, {} are seen; the first that differs is number {first:?}",
            values.len(),
            found.len(),
        );
    }
    ensure!(by_their_key.is_empty(), "of nobody: {:?}", by_their_key.keys());
    Ok(())
}
