//! The ledger's words: entries, their postings, and what a ledger must be able to do.

use serde::Serialize;

use crate::names::{Day, Id};

/// The account of the company: gains fees, gives rewards.
pub const COMPANY: &str = "company";
/// The account of the money that was paid out.
pub const CASH: &str = "cash";

/// The account of a worker. The prefix keeps a worker called `company` apart.
#[must_use]
pub fn account_of(worker: &Id) -> String {
    format!("worker:{worker}")
}

/// What kind of movement an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A worker is charged for an assigned task.
    Fee,
    /// A worker is credited for a completed task.
    Reward,
    /// A worker is paid what their account holds.
    Payout,
}

impl Kind {
    /// As it stands in tables and bodies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Fee => "fee",
            Kind::Reward => "reward",
            Kind::Payout => "payout",
        }
    }
}

/// One account's share of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Posting {
    /// `worker:<id>`, [`COMPANY`] or [`CASH`].
    pub account: String,
    /// What the account gains, in whole units; negative if it gives.
    pub amount: i64,
}

/// A movement of money. Its postings follow from it and sum to zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The natural key: there is one fee and one reward for a task, and one payout for a worker and a day.
    pub id: String,
    /// What kind of movement.
    pub kind: Kind,
    /// Whose account moves.
    pub worker: Id,
    /// For which task; none for a payout.
    pub task: Option<Id>,
    /// The day it counts for.
    pub day: Day,
    /// What the worker's account gains, in whole units.
    pub amount: i64,
}

impl Entry {
    /// The fee of a task: there is one, so its id names no worker.
    #[must_use]
    pub fn fee(task: &Id, worker: &Id, day: &Day, fee: i64) -> Entry {
        Entry::of_task(Kind::Fee, task, worker, day, -fee)
    }

    /// The reward of a task: there is one, so its id names no worker.
    #[must_use]
    pub fn reward(task: &Id, worker: &Id, day: &Day, reward: i64) -> Entry {
        Entry::of_task(Kind::Reward, task, worker, day, reward)
    }

    /// The payout of what a worker's account holds, which zeroes it: there is one for a worker and a day.
    #[must_use]
    pub fn payout(worker: &Id, day: &Day, held: i64) -> Entry {
        let id = format!("{}/{day}/{worker}", Kind::Payout.as_str());
        Entry { id, kind: Kind::Payout, worker: worker.clone(), task: None, day: day.clone(), amount: -held }
    }

    fn of_task(kind: Kind, task: &Id, worker: &Id, day: &Day, amount: i64) -> Entry {
        let id = format!("{}/{task}", kind.as_str());
        Entry { id, kind, worker: worker.clone(), task: Some(task.clone()), day: day.clone(), amount }
    }

    /// Its postings: the worker's, and the other side's.
    #[must_use]
    pub fn postings(&self) -> [Posting; 2] {
        let other = match self.kind {
            Kind::Fee | Kind::Reward => COMPANY,
            Kind::Payout => CASH,
        };
        [
            Posting { account: account_of(&self.worker), amount: self.amount },
            Posting { account: other.to_owned(), amount: -self.amount },
        ]
    }
}

/// What decisions need of the tables. Nothing is ever changed or taken away.
pub trait Ledger {
    /// Why the tables did not answer.
    type Error;

    /// Adds an entry with its postings, and the worker's account if it is their first. An entry that is
    /// there already stands: then nothing is added, and the answer is `false`.
    ///
    /// # Errors
    /// That the tables did not answer.
    fn post(&self, entry: &Entry) -> Result<bool, Self::Error>;

    /// What a worker's account holds, in whole units.
    ///
    /// # Errors
    /// That the tables did not answer.
    fn balance(&self, worker: &Id) -> Result<i64, Self::Error>;

    /// The next workers with an account, in the order of their ids: those after this one (none: from
    /// the first), at most `most`.
    ///
    /// # Errors
    /// That the tables did not answer.
    fn workers_after(&self, after: Option<&Id>, most: usize) -> Result<Vec<Id>, Self::Error>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postings_sum_to_zero() {
        let (task, worker) = (Id::new("t-1").unwrap(), Id::new("company").unwrap());
        let day = Day::new("2026-11-21").unwrap();
        let payout = Entry::payout(&worker, &day, 31);
        for entry in [Entry::fee(&task, &worker, &day, 12), Entry::reward(&task, &worker, &day, 33), payout] {
            let [first, second] = entry.postings();
            assert_eq!(first.amount + second.amount, 0, "{entry:?}");
            assert_ne!(first.account, second.account, "{entry:?}");
        }
    }
}
