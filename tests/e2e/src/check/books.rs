//! The books of accounting: complete, balanced, in order, and paid out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::same;
use crate::expected::Expected;
use crate::sqlite::{Database, column};
use crate::story::{CLOSES_LAST, CLOSES_MIDWAY};

/// A row of `entries`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its natural key.
    pub entry: String,
    /// `fee`, `reward` or `payout`.
    pub kind: String,
    /// Whose account moved.
    pub worker: String,
    /// The task, unless it is a payout.
    pub task: Option<String>,
    /// The day it counts for.
    pub day: String,
    /// What the worker's account gained.
    pub amount: i64,
}

/// A row of `postings`, in the order in which they were written.
#[derive(Debug, Clone)]
pub struct Posting {
    /// Its entry.
    pub entry: String,
    /// The account.
    pub account: String,
    /// What it gained.
    pub amount: i64,
}

/// What accounting left.
pub struct Books {
    /// In the order in which they were written.
    pub entries: Vec<Entry>,
    /// In the order in which they were written.
    pub postings: Vec<Posting>,
}

impl Books {
    /// Reads the database.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let mut database = Database::open(file)?;
        let entry = |row| {
            Ok(Entry {
                entry: column(row, "entry")?,
                kind: column(row, "kind")?,
                worker: column(row, "worker")?,
                task: column(row, "task")?,
                day: column(row, "day")?,
                amount: column(row, "amount")?,
            })
        };
        let posting = |row| {
            Ok(Posting {
                entry: column(row, "entry")?,
                account: column(row, "account")?,
                amount: column(row, "amount")?,
            })
        };
        let entries = database.rows("SELECT * FROM entries ORDER BY rowid")?;
        let postings = database.rows("SELECT * FROM postings ORDER BY rowid")?;
        Ok(Self {
            entries: entries.iter().map(entry).collect::<Result<_>>()?,
            postings: postings.iter().map(posting).collect::<Result<_>>()?,
        })
    }

    /// Compares with what must be in them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, expected: &Expected) -> Result<()> {
        self.every_task_has_one_fee_and_one_reward(expected)?;
        self.postings_balance()?;
        self.fees_come_before_rewards()?;
        self.payouts_are_what_accounts_held()?;
        self.the_last_day_pays_the_rest(expected)
    }

    fn every_task_has_one_fee_and_one_reward(&self, expected: &Expected) -> Result<()> {
        let of_tasks = self.entries.iter().filter(|entry| entry.kind != "payout");
        let mut found: Vec<Entry> = of_tasks.cloned().collect();
        found.sort();
        let expected: Vec<Entry> = expected
            .entries()
            .into_iter()
            .map(|(entry, (kind, task, movement))| Entry {
                entry,
                kind: kind.to_owned(),
                worker: movement.worker.clone(),
                task: Some(task.to_owned()),
                day: movement.day.clone(),
                amount: movement.amount,
            })
            .collect();
        same("fees and rewards", &found, &expected)
    }

    /// Each entry moves its amount between the worker and the other side; all of them together move nothing.
    fn postings_balance(&self) -> Result<()> {
        let mut by_entry: BTreeMap<&str, Vec<(&str, i64)>> = BTreeMap::new();
        for posting in &self.postings {
            by_entry.entry(&posting.entry).or_default().push((&posting.account, posting.amount));
        }
        ensure!(by_entry.len() == self.entries.len(), "{} entries have postings", by_entry.len());
        for entry in &self.entries {
            let other = if entry.kind == "payout" { "cash" } else { "company" };
            let account = format!("worker:{}", entry.worker);
            let mut wanted = vec![(account.as_str(), entry.amount), (other, -entry.amount)];
            let found =
                by_entry.get_mut(entry.entry.as_str()).with_context(|| format!("no postings: {entry:?}"))?;
            found.sort_unstable();
            wanted.sort_unstable();
            ensure!(*found == wanted, "{entry:?} has the postings {found:?}");
        }
        let sum: i64 = self.postings.iter().map(|posting| posting.amount).sum();
        ensure!(sum == 0, "all accounts together hold {sum}");
        Ok(())
    }

    /// A task's events are one key's: it is assigned before it is completed in the topic, so it must be in
    /// the books.
    fn fees_come_before_rewards(&self) -> Result<()> {
        let place = |(place, entry): (usize, &Entry)| (entry.entry.clone(), place);
        let places: BTreeMap<String, usize> = self.entries.iter().enumerate().map(place).collect();
        for (entry, reward) in places.iter().filter(|(entry, _)| entry.starts_with("reward/")) {
            let fee =
                places.get(&entry.replace("reward/", "fee/")).with_context(|| format!("no fee: {entry}"))?;
            ensure!(fee < reward, "{entry} was written before the task's fee");
        }
        Ok(())
    }

    /// The entries of payouts; their amounts are what workers' accounts gave, and so negative.
    pub fn payouts(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.kind == "payout")
    }

    /// A payout is one of its worker and day, and of what the postings before it add up to.
    fn payouts_are_what_accounts_held(&self) -> Result<()> {
        for payout in self.payouts() {
            let named = format!("payout/{}/{}", payout.day, payout.worker);
            ensure!(payout.entry == named && payout.task.is_none(), "{payout:?}");
            let account = format!("worker:{}", payout.worker);
            let of_worker = self.postings.iter().filter(|posting| posting.account == account);
            let before = of_worker.take_while(|posting| posting.entry != payout.entry);
            let held: i64 = before.map(|posting| posting.amount).sum();
            ensure!(held > 0 && payout.amount == -held, "{payout:?}, but the account held {held}");
        }
        Ok(())
    }

    /// When the last day closed, all else was done: every worker gets what they earned and did not get yet.
    fn the_last_day_pays_the_rest(&self, expected: &Expected) -> Result<()> {
        let on = |day: &str| {
            let of_day = self.payouts().filter(move |payout| payout.day == day);
            of_day.map(|payout| (payout.worker.as_str(), -payout.amount)).collect::<BTreeMap<_, _>>()
        };
        let midway = on(CLOSES_MIDWAY);
        ensure!(!midway.is_empty(), "nobody was paid when {CLOSES_MIDWAY} closed: that shows little");
        let rest = |(worker, earned): (&'_ str, i64)| {
            (worker.to_owned(), earned - midway.get(worker).copied().unwrap_or_default())
        };
        let wanted: Vec<_> = expected.earned().into_iter().map(rest).filter(|(_, rest)| *rest > 0).collect();
        let found: Vec<_> =
            on(CLOSES_LAST).into_iter().map(|(worker, paid)| (worker.to_owned(), paid)).collect();
        same("payouts of the last day", &found, &wanted)
    }

    /// What a worker's account holds in the end.
    #[must_use]
    pub fn balances(&self) -> BTreeMap<&str, i64> {
        let mut balances = BTreeMap::new();
        for entry in &self.entries {
            *balances.entry(entry.worker.as_str()).or_insert(0) += entry.amount;
        }
        balances
    }
}
