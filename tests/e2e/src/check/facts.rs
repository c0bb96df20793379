//! What accounting published: each fact of its tables once, and nothing else.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::books::Books;
use super::same;
use crate::broker::Stored;
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

/// The facts of a topic, sorted. One that is there twice comes twice.
fn facts(topic: &[Stored], event_type: &str, partitions: i32) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for Stored { partition, record, .. } in topic {
        let key = record.key.as_deref().with_context(|| format!("no key: {record:?}"))?;
        ensure!(
            *partition == partition_of(key, partitions),
            "not where Kafka's partitioner puts it: {record:?}"
        );
        ensure!(record.header("ce_type") == Some(event_type), "another type: {record:?}");
        ensure!(record.header("ce_source") == Some("accounting"), "another source: {record:?}");
        let id = record.header("ce_id").with_context(|| format!("no id: {record:?}"))?;
        let body: Value = serde_json::from_str(record.value.as_deref().context("no value")?)?;
        facts.push((id.to_owned(), key.to_owned(), body.to_string()));
    }
    facts.sort();
    Ok(facts)
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
        .payouts()
        .map(|payout| {
            let (worker, day, held) = (&payout.worker, &payout.day, -payout.amount);
            let body = json!({
                "worker": worker, "day": day, "amount": held, "balance": held, "entry": payout.entry,
            });
            (format!("made/{day}/{worker}"), worker.clone(), body.to_string())
        })
        .collect();
    facts.sort();
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Record;
    use crate::check::books::Entry;

    /// Books of one fee, and the record that tells it.
    fn one_fee() -> (Books, Stored) {
        let entry = Entry {
            entry: "fee/t-1".into(),
            kind: "fee".into(),
            worker: "w-1".into(),
            task: Some("t-1".into()),
            day: "2027-01-01".into(),
            amount: -10,
        };
        let body = r#"{"entry":"fee/t-1","kind":"fee","worker":"w-1","task":"t-1","day":"2027-01-01","amount":-10,
            "postings":[{"account":"worker:w-1","amount":-10},{"account":"company","amount":10}]}"#;
        let headers =
            [("ce_id", "fee/t-1"), ("ce_source", "accounting"), ("ce_type", "account.entry.posted")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let record =
            Record { key: Some("w-1".into()), value: Some(body.to_owned()), headers: headers.to_vec() };
        let stored = Stored { partition: partition_of("w-1", 6), offset: 0, record };
        (Books { entries: vec![entry], postings: Vec::new() }, stored)
    }

    #[test]
    fn a_fact_told_twice_or_not_at_all_is_noticed() {
        let (books, told) = one_fee();
        check(&books, std::slice::from_ref(&told), &[], 6).unwrap();
        assert!(check(&books, &[told.clone(), told], &[], 6).is_err());
        assert!(check(&books, &[], &[], 6).is_err());
    }
}
