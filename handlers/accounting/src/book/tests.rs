//! What accounting decides, on a ledger in memory that the events reach in any number of repeats.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use super::*;
use crate::draw;
use crate::ledger::Kind;
use crate::names::{Day, Id};
use crate::publication::{ACCOUNTING_COMMANDS, Body};

/// A ledger in memory, append-only like the tables.
#[derive(Default)]
struct MemoryLedger {
    entries: RefCell<BTreeMap<String, Entry>>,
    payouts: RefCell<BTreeMap<(Id, Day), Payout>>,
    workers: RefCell<BTreeSet<Id>>,
}

impl MemoryLedger {
    fn sum(&self, account: Option<&str>) -> i64 {
        let entries = self.entries.borrow();
        let postings = entries.values().flat_map(Entry::postings);
        postings
            .filter(|posting| account.is_none_or(|account| posting.account == account))
            .map(|posting| posting.amount)
            .sum()
    }
}

impl Ledger for MemoryLedger {
    type Error = Infallible;

    fn post(&self, entry: Entry) -> Result<Entry, Infallible> {
        self.workers.borrow_mut().insert(entry.worker.clone());
        Ok(self.entries.borrow_mut().entry(entry.id.clone()).or_insert(entry).clone())
    }

    fn balance(&self, worker: &Id) -> Result<i64, Infallible> {
        Ok(self.sum(Some(&crate::ledger::account_of(worker))))
    }

    fn workers_after(&self, after: Option<&Id>, most: usize) -> Result<Vec<Id>, Infallible> {
        let workers = self.workers.borrow();
        Ok(workers
            .iter()
            .filter(|worker| after.is_none_or(|after| *worker > after))
            .take(most)
            .cloned()
            .collect())
    }

    fn payout(&self, worker: &Id, day: &Day) -> Result<Option<Payout>, Infallible> {
        Ok(self.payouts.borrow().get(&(worker.clone(), day.clone())).cloned())
    }

    fn keep(&self, payout: &Payout) -> Result<(), Infallible> {
        let key = (payout.worker.clone(), payout.day.clone());
        assert_eq!(self.payouts.borrow_mut().insert(key, payout.clone()), None, "decided twice");
        Ok(())
    }
}

fn id(id: &str) -> Id {
    Id::new(id).unwrap()
}

fn day(day: &str) -> Day {
    Day::new(day).unwrap()
}

fn moved(task: &str, worker: &str) -> TaskMoved {
    TaskMoved { task: id(task), worker: id(worker), day: day("2026-11-21") }
}

fn entry_of(publication: &Publication) -> (Kind, String, i64) {
    match &publication.body {
        Body::Entry(entry) => (entry.kind, entry.worker.to_string(), entry.amount),
        other => panic!("not an entry: {other:?}"),
    }
}

#[test]
fn a_task_is_charged_and_credited_once() {
    let ledger = MemoryLedger::default();
    let fee = assigned(&ledger, &moved("t-1", "w-1")).unwrap();
    let reward = completed(&ledger, &moved("t-1", "w-1")).unwrap();
    assert_eq!(entry_of(&fee), (Kind::Fee, "w-1".into(), -draw::fee(&id("t-1"))));
    assert_eq!(entry_of(&reward), (Kind::Reward, "w-1".into(), draw::reward(&id("t-1"))));

    assert_eq!(assigned(&ledger, &moved("t-1", "w-1")).unwrap(), fee);
    assert_eq!(completed(&ledger, &moved("t-1", "w-1")).unwrap(), reward);
    assert_eq!(ledger.entries.borrow().len(), 2);
    assert_eq!(ledger.sum(None), 0);
    assert_eq!(ledger.sum(Some("company")), draw::fee(&id("t-1")) - draw::reward(&id("t-1")));
}

#[test]
fn the_first_assignment_of_a_task_stands() {
    let ledger = MemoryLedger::default();
    let first = assigned(&ledger, &moved("t-1", "w-1")).unwrap();
    let later = TaskMoved { day: day("2026-11-22"), ..moved("t-1", "w-2") };
    assert_eq!(assigned(&ledger, &later).unwrap(), first);
    assert_eq!(ledger.balance(&id("w-2")).unwrap(), 0);
}

#[test]
fn a_completion_without_an_assignment_is_credited() {
    let ledger = MemoryLedger::default();
    completed(&ledger, &moved("t-9", "w-1")).unwrap();
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), draw::reward(&id("t-9")));
}

/// Follows the pages of a day as Kafka would bring them back; answers the workers of each.
fn walk(ledger: &MemoryLedger) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(closed(&DayClosed { day: day("2026-11-21") }));
    while let Some(Publication { body: Body::Page(command), .. }) = next.take() {
        let mut workers = Vec::new();
        for publication in page(ledger, &command).unwrap() {
            assert_eq!(publication.topic, ACCOUNTING_COMMANDS);
            match &publication.body {
                Body::Due(due) => {
                    assert_eq!(publication.key, due.worker.as_str());
                    workers.push(due.worker.to_string());
                }
                _ => next = Some(publication),
            }
        }
        pages.push(workers);
    }
    pages
}

#[test]
fn pages_reach_every_worker_once() {
    let cases: [(usize, &[usize]); 6] = [
        (0, &[0]),
        (1, &[1]),
        (999, &[999]),
        (1_000, &[1_000, 0]),
        (1_001, &[1_000, 1]),
        (2_000, &[1_000, 1_000, 0]),
    ];
    for (workers, sizes) in cases {
        let ledger = MemoryLedger::default();
        ledger.workers.borrow_mut().extend((0..workers).map(|worker| id(&format!("w-{worker}"))));
        let pages = walk(&ledger);
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        let seen: BTreeSet<String> = pages.into_iter().flatten().collect();
        assert_eq!(seen.len(), workers);
    }
}

#[test]
fn a_payout_pays_what_is_held_and_zeroes_it() {
    let ledger = MemoryLedger::default();
    completed(&ledger, &moved("t-1", "w-1")).unwrap();
    let held = ledger.balance(&id("w-1")).unwrap();
    let due_today = PayoutDue { day: day("2026-11-21"), worker: id("w-1") };

    let paid = due(&ledger, &due_today).unwrap();
    let [entry, made] = paid.as_slice() else { panic!("{paid:?}") };
    assert_eq!(entry_of(entry), (Kind::Payout, "w-1".into(), -held));
    let Body::Made(made_body) = &made.body else { panic!("{made:?}") };
    assert_eq!((made_body.amount, made_body.balance), (held, held));
    assert_ne!(entry.id, made.id);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), 0);

    // What is earned later is not paid by a repeat, but by the next day.
    completed(&ledger, &moved("t-2", "w-1")).unwrap();
    assert_eq!(due(&ledger, &due_today).unwrap(), paid);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), draw::reward(&id("t-2")));
    let tomorrow = PayoutDue { day: day("2026-11-22"), worker: id("w-1") };
    assert_eq!(due(&ledger, &tomorrow).unwrap().len(), 2);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), 0);
    assert_eq!(ledger.sum(None), 0);
}

#[test]
fn that_nothing_was_due_stands_and_debts_carry_over() {
    let ledger = MemoryLedger::default();
    assigned(&ledger, &moved("t-1", "w-1")).unwrap();
    let due_today = PayoutDue { day: day("2026-11-21"), worker: id("w-1") };
    assert_eq!(due(&ledger, &due_today).unwrap(), []);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), -draw::fee(&id("t-1")));

    completed(&ledger, &moved("t-1", "w-1")).unwrap();
    completed(&ledger, &moved("t-2", "w-1")).unwrap();
    assert!(ledger.balance(&id("w-1")).unwrap() > 0);
    assert_eq!(due(&ledger, &due_today).unwrap(), [], "a repeat must not pay after a decision of nothing");
}
