//! What accounting published: each fact of its tables at least once, and nothing else. A repeat is
//! allowed and must say the same.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::books::Books;
use super::same;
use crate::broker::{Record, Stored};
use crate::expected::partition_of;

/// The topic of the entries.
pub const ENTRIES: &str = "account-entries";
/// The topic of the payouts.
pub const PAYOUTS: &str = "payouts";

/// Compares both topics with the books.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(books: &Books, entries: &[Stored], payouts: &[Stored], partitions: i32) -> Result<()> {
    let told = facts(entries, "account.entry.posted", partitions).context(ENTRIES)?;
    same("published entries", &told, &entries_to_tell(books))?;
    let told = facts(payouts, "payout.made", partitions).context(PAYOUTS)?;
    same("published payouts", &told, &payouts_to_tell(books))
}

/// A fact: its id, its key and its body, written in one way.
type Fact = (String, String, String);

/// The distinct facts of a topic.
fn facts(topic: &[Stored], event_type: &str, partitions: i32) -> Result<Vec<Fact>> {
    let mut first: BTreeMap<&str, &Record> = BTreeMap::new();
    for Stored { partition, record, .. } in topic {
        let key = record.key.as_deref().with_context(|| format!("no key: {record:?}"))?;
        ensure!(
            *partition == partition_of(key, partitions),
            "not where Kafka's partitioner puts it: {record:?}"
        );
        ensure!(record.header("ce_type") == Some(event_type), "another type: {record:?}");
        ensure!(record.header("ce_source") == Some("accounting"), "another source: {record:?}");
        let id = record.header("ce_id").with_context(|| format!("no id: {record:?}"))?;
        let said = *first.entry(id).or_insert(record);
        let same_body = (&said.key, &said.value) == (&record.key, &record.value);
        ensure!(same_body, "a repeat says something else: {said:?} and {record:?}");
    }
    first.into_iter().map(|(id, record)| fact(id, record)).collect()
}

fn fact(id: &str, record: &Record) -> Result<Fact> {
    let body: Value = serde_json::from_str(record.value.as_deref().context("no value")?)?;
    Ok((id.to_owned(), record.key.clone().unwrap_or_default(), body.to_string()))
}

fn entries_to_tell(books: &Books) -> Vec<Fact> {
    let mut facts: Vec<Fact> = books
        .entries
        .iter()
        .map(|entry| {
            let other = if entry.kind == "payout" { "cash" } else { "company" };
            let body = json!({
                "entry": entry.entry, "kind": entry.kind, "worker": entry.worker, "task": entry.task,
                "day": entry.day, "amount": entry.amount,
                "postings": [
                    {"account": format!("worker:{}", entry.worker), "amount": entry.amount},
                    {"account": other, "amount": -entry.amount},
                ],
            });
            (entry.entry.clone(), entry.worker.clone(), body.to_string())
        })
        .collect();
    facts.sort();
    facts
}

fn payouts_to_tell(books: &Books) -> Vec<Fact> {
    let mut facts: Vec<Fact> = books
        .payouts
        .iter()
        .filter(|payout| payout.amount > 0)
        .map(|payout| {
            let (worker, day) = (&payout.worker, &payout.day);
            let body = json!({
                "worker": worker, "day": day, "amount": payout.amount, "balance": payout.balance,
                "entry": format!("payout/{day}/{worker}"),
            });
            (format!("made/{day}/{worker}"), worker.clone(), body.to_string())
        })
        .collect();
    facts.sort();
    facts
}
