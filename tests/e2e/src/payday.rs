//! A day for many workers, each of whom has completed one task, and what accounting has to publish when it closes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

use crate::broker::{Broker, Record, Stored};
use crate::check::{facts, same};

/// The day.
pub const DAY: &str = "2027-01-04";
/// Where accounting tells itself what is to be done.
pub const COMMANDS: &str = "accounting-commands";
/// So many workers it walks through at a time; who finds that many asks for more.
const PAGE: usize = 1_000;

/// This worker completes their task.
#[must_use]
pub fn completed(worker: usize) -> Record {
    let body = format!(r#"{{"task":"t-{worker}","worker":"w-{worker}","day":"{DAY}"}}"#);
    let headers = vec![("ce_type".to_owned(), "task.completed".to_owned())];
    Record { key: Some(format!("t-{worker}")), value: Some(body), headers }
}

/// Reads what accounting published, as one who reads committed transactions does, to its end: each fact must be
/// there once, and no other. Answers the payouts.
///
/// # Errors
/// What is missing or too much.
pub fn check_published(broker: &dyn Broker, workers: usize) -> Result<Vec<Stored>> {
    let ids: BTreeSet<String> = (0..workers).map(|worker| format!("w-{worker}")).collect();
    let payouts = ids.iter().map(|id| format!("payout/{DAY}/{id}"));
    let rewards = (0..workers).map(|task| format!("reward/t-{task}"));
    each_once(&broker.read(facts::ENTRIES)?, rewards.chain(payouts).collect()).context(facts::ENTRIES)?;

    let first_page = std::iter::once(format!("page/{DAY}/"));
    let further = ids.iter().skip(PAGE - 1).step_by(PAGE).map(|last| format!("page/{DAY}/{last}"));
    let dues = ids.iter().map(|id| format!("due/{DAY}/{id}"));
    let commands = first_page.chain(further).chain(dues).collect();
    each_once(&broker.read(COMMANDS)?, commands).context(COMMANDS)?;

    let stored = broker.read(facts::PAYOUTS)?;
    each_once(&stored, ids.iter().map(|id| format!("made/{DAY}/{id}")).collect()).context(facts::PAYOUTS)?;
    Ok(stored)
}

/// What names a fact must be there as often as it is wanted, which is once.
fn each_once(topic: &[Stored], mut wanted: Vec<String>) -> Result<()> {
    let id = |stored: &Stored| {
        let id = stored.record.header("ce_id").map(str::to_owned);
        id.with_context(|| format!("no id: {stored:?}"))
    };
    let mut found = topic.iter().map(id).collect::<Result<Vec<_>>>()?;
    found.sort();
    wanted.sort();
    same("facts", &found, &wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_that_is_there_twice_or_not_at_all_is_noticed() {
        let told = |id: &str| {
            let headers = vec![("ce_id".to_owned(), id.to_owned())];
            let record = Record { key: Some("w-1".to_owned()), value: None, headers };
            Stored { partition: 0, offset: 0, record }
        };
        let wanted = || ["made/1".to_owned(), "made/2".to_owned()].to_vec();
        each_once(&[told("made/2"), told("made/1")], wanted()).unwrap();
        for topic in [&["made/1"][..], &["made/1", "made/2", "made/1"], &["made/1", "made/1"]] {
            let topic: Vec<_> = topic.iter().map(|id| told(id)).collect();
            assert!(each_once(&topic, wanted()).is_err(), "{topic:?}");
        }
    }
}
