//! The books that a right host must end up with, kept by hand from the same stream.

use std::collections::BTreeMap;

use super::calendar::{DAYS, DAYS_CLOSED, Day};
use super::draw;
use super::fact::{Broken, DAY_CLOSED, Fact, Happening, Moved, TASK_ASSIGNED, TASK_COMPLETED};
use crate::demo::topics::{ACCOUNT_ENTRIES, ACCOUNTING_COMMANDS, DAY_LIFECYCLE, PAYOUTS, TASK_LIFECYCLE};

/// The types of what accounting publishes.
const ACCOUNT_ENTRY_POSTED: &str = "account.entry.posted";
const PAYOUT_PAGE: &str = "payout.page";
const PAYOUT_DUE: &str = "payout.due";
const PAYOUT_MADE: &str = "payout.made";

/// How many workers accounting walks in one step when a day closes.
const PAGE_WORKERS: u64 = 1_000;

/// The dearest completed task of a day, week or month.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::demo) struct Dearest {
    /// Its reward, in whole units.
    pub(in crate::demo) reward: i64,
    /// Its id. Rewards are small numbers, so that many tasks share the first place: of those it is the one
    /// whose id sorts first.
    pub(in crate::demo) task: String,
}

/// What kind of record one is: a type's, or broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::demo) enum RecordKind {
    /// A whole event of this type.
    Whole(&'static str),
    /// Broken in this way.
    Broken(Broken),
}

/// What should be in the ledger, in the mail folder, in analytics and in the topics.
#[derive(Debug, Clone, Default)]
pub(in crate::demo) struct Books {
    /// Entries of the ledger.
    pub(in crate::demo) entries: u64,
    /// What each worker's account holds, in whole units.
    pub(in crate::demo) workers: BTreeMap<String, i64>,
    /// Payouts that were made, over all days.
    pub(in crate::demo) payouts: u64,
    /// What was paid out, in whole units, over all days.
    pub(in crate::demo) paid: i64,
    /// Fees less rewards of each day, in whole units.
    pub(in crate::demo) take: BTreeMap<String, i64>,
    /// The dearest task by day (`YYYY-MM-DD`), week (`YYYY-Www`) and month (`YYYY-MM`).
    pub(in crate::demo) dearest: BTreeMap<String, Dearest>,
    /// Records by topic and kind, those that the handlers publish included.
    pub(in crate::demo) records: BTreeMap<(&'static str, RecordKind), u64>,
}

impl Books {
    /// The books after the whole stream, with the days closed as the demo closes them.
    pub(in crate::demo) fn of(stream: impl Iterator<Item = Happening>) -> Self {
        let mut books = Self::default();
        let mut stream = stream.peekable();
        for (place, day) in DAYS.iter().enumerate() {
            while let Some(happening) = stream.next_if(|happening| happening.day() == day) {
                books.note(&happening);
            }
            if place < DAYS_CLOSED {
                books.close();
            }
        }
        books
    }

    /// Something happened.
    pub(in crate::demo) fn note(&mut self, happening: &Happening) {
        let day = happening.day();
        let kind = match &happening.fact {
            Fact::Assigned(moved) => {
                self.post(moved, day, -draw::fee(&moved.task));
                RecordKind::Whole(TASK_ASSIGNED)
            }
            Fact::Completed(moved) => {
                let reward = draw::reward(&moved.task);
                self.post(moved, day, reward);
                self.compare(moved, day, reward);
                RecordKind::Whole(TASK_COMPLETED)
            }
            Fact::Broken(broken, _) => RecordKind::Broken(*broken),
        };
        self.count(TASK_LIFECYCLE, kind, 1);
    }

    fn count(&mut self, topic: &'static str, kind: RecordKind, records: u64) {
        *self.records.entry((topic, kind)).or_default() += records;
    }

    /// A worker gains or gives, the company the opposite.
    fn post(&mut self, moved: &Moved, day: &Day, amount: i64) {
        *self.workers.entry(moved.worker.clone()).or_default() += amount;
        *self.take.entry(day.date.to_owned()).or_default() -= amount;
        self.enter();
    }

    fn enter(&mut self) {
        self.entries += 1;
        self.count(ACCOUNT_ENTRIES, RecordKind::Whole(ACCOUNT_ENTRY_POSTED), 1);
    }

    fn compare(&mut self, moved: &Moved, day: &Day, reward: i64) {
        for period in [day.date, day.week, day.month] {
            let dearest = self.dearest.entry(period.to_owned()).or_default();
            let sorts_first = reward == dearest.reward && moved.task < dearest.task;
            if reward > dearest.reward || sorts_first {
                *dearest = Dearest { reward, task: moved.task.clone() };
            }
        }
    }

    /// The day ended, and everything before it was booked: who holds something is paid, who owes carries on.
    pub(in crate::demo) fn close(&mut self) {
        let workers = self.workers.len() as u64;
        let mut paid = 0;
        for balance in self.workers.values_mut().filter(|balance| **balance > 0) {
            self.paid += *balance;
            *balance = 0;
            paid += 1;
        }
        (0..paid).for_each(|_| self.enter());
        self.payouts += paid;
        self.count(DAY_LIFECYCLE, RecordKind::Whole(DAY_CLOSED), 1);
        // A full page is followed by another, which may be empty.
        self.count(ACCOUNTING_COMMANDS, RecordKind::Whole(PAYOUT_PAGE), workers / PAGE_WORKERS + 1);
        self.count(ACCOUNTING_COMMANDS, RecordKind::Whole(PAYOUT_DUE), workers);
        self.count(PAYOUTS, RecordKind::Whole(PAYOUT_MADE), paid);
    }

    /// Events and broken records of the stream itself, in this order: what the demo produces.
    pub(in crate::demo) fn stream(&self) -> Vec<(RecordKind, u64)> {
        let ours = |topic: &str| topic == TASK_LIFECYCLE || topic == DAY_LIFECYCLE;
        let records = self.records.iter().filter(|((topic, _), _)| ours(topic));
        let mut stream: Vec<_> = records.map(|((_, kind), records)| (*kind, *records)).collect();
        stream.sort_unstable();
        stream
    }

    /// How many workers owe the company something.
    pub(in crate::demo) fn in_the_red(&self) -> u64 {
        self.workers.values().filter(|balance| **balance < 0).count() as u64
    }
}
