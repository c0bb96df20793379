//! From events to the rows that analytics keeps.

use serde::Deserialize;

use crate::calendar::Day;

/// The account whose gains are the company's take.
const COMPANY: &str = "company";

/// The body of `account.entry.posted`, as far as analytics needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EntryPosted {
    /// The entry's natural key.
    pub entry: String,
    /// `fee`, `reward` or `payout`.
    pub kind: String,
    /// Whose account moved.
    pub worker: String,
    /// For which task, if for one.
    pub task: Option<String>,
    /// The day it counts for.
    pub day: Day,
    /// What the worker's account gained, in whole units.
    pub amount: i64,
    /// Every account that moved.
    pub postings: Vec<Posting>,
}

/// One account's share of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Posting {
    /// Which account.
    pub account: String,
    /// What it gained, in whole units.
    pub amount: i64,
}

/// The body of `task.completed`, as far as analytics needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TaskCompleted {
    /// The task.
    pub task: String,
    /// Who completed it.
    pub worker: String,
    /// What the task is called, if the publisher tells.
    #[serde(default)]
    pub title: Option<String>,
    /// The business day.
    pub day: Day,
}

/// A row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// The natural key.
    pub entry: String,
    /// `fee`, `reward` or `payout`.
    pub kind: String,
    /// Whose account moved.
    pub worker: String,
    /// For which task, if for one.
    pub task: Option<String>,
    /// The day it counts for.
    pub day: String,
    /// What the worker's account gained, in whole units.
    pub worker_amount: i64,
    /// What the company's account gained, in whole units.
    pub company_amount: i64,
}

/// A row of `completions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionRow {
    /// The natural key.
    pub task: String,
    /// Who completed it.
    pub worker: String,
    /// What the task is called, if known.
    pub title: Option<String>,
    /// `2026-11-21`.
    pub day: String,
    /// `2026-W47`.
    pub week: String,
    /// `2026-11`.
    pub month: String,
}

/// The row of an entry.
///
/// # Errors
/// That its postings do not sum to zero: a fact that no ledger can have published.
pub fn entry(event: EntryPosted) -> Result<EntryRow, String> {
    let sum: i128 = event.postings.iter().map(|posting| i128::from(posting.amount)).sum();
    if sum != 0 {
        return Err(format!("the postings of entry \"{}\" sum to {sum} instead of 0", event.entry));
    }
    let of_company = event.postings.iter().filter(|posting| posting.account == COMPANY);
    let company_amount = of_company.fold(0_i64, |sum, posting| sum.saturating_add(posting.amount));
    Ok(EntryRow {
        entry: event.entry,
        kind: event.kind,
        worker: event.worker,
        task: event.task,
        day: event.day.name(),
        worker_amount: event.amount,
        company_amount,
    })
}

/// The row of a completed task.
#[must_use]
pub fn completion(event: TaskCompleted) -> CompletionRow {
    CompletionRow {
        task: event.task,
        worker: event.worker,
        title: event.title,
        day: event.day.name(),
        week: event.day.iso_week(),
        month: event.day.month(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(kind: &str, amount: i64, other: &str, other_amount: i64) -> EntryPosted {
        let body = format!(
            r#"{{"entry":"{kind}/t-1","kind":"{kind}","worker":"w-1","task":null,"day":"2026-11-21","amount":{amount},
            "postings":[{{"account":"worker:w-1","amount":{amount}}},{{"account":"{other}","amount":{other_amount}}}]}}"#
        );
        serde_json::from_str(&body).unwrap()
    }

    #[test]
    fn the_company_takes_fees_gives_rewards_and_does_not_pay_out() {
        let cases = [("fee", -12, "company", 12), ("reward", 30, "company", -30), ("payout", -18, "cash", 0)];
        for (kind, amount, other, company) in cases {
            let row = entry(posted(kind, amount, other, -amount)).unwrap();
            assert_eq!((row.worker_amount, row.company_amount), (amount, company), "{kind}");
        }
    }

    #[test]
    fn postings_that_do_not_sum_to_zero_are_refused() {
        let error = entry(posted("fee", -12, "company", 11)).unwrap_err();
        assert_eq!(error, "the postings of entry \"fee/t-1\" sum to -1 instead of 0");
    }

    #[test]
    fn a_completion_knows_its_day_week_and_month() {
        let body = r#"{"task":"t-1","worker":"w-1","title":"Paint the shed","day":"2027-01-01"}"#;
        let row = completion(serde_json::from_str(body).unwrap());
        assert_eq!(
            (row.day.as_str(), row.week.as_str(), row.month.as_str()),
            ("2027-01-01", "2026-W53", "2027-01")
        );
        assert_eq!(row.title.as_deref(), Some("Paint the shed"));
    }

    #[test]
    fn broken_bodies_are_refused() {
        let error = |body| serde_json::from_str::<TaskCompleted>(body).unwrap_err().to_string();
        assert!(
            error(r#"{"task":"t-1","worker":"w-1","day":"tomorrow"}"#).contains("\"tomorrow\" is not a day")
        );
        assert!(
            error(r#"{"task":"t-1","worker":"w-1"}"#).contains("missing field `day` at line 1 column 29")
        );
        assert!(error("{\"task\":\n}").contains("expected value at line 2 column 1"));
    }
}
