//! What accounting decides, on a ledger in memory.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Bound;

use super::*;
use crate::draw;
use crate::ledger::{CASH, COMPANY, Kind, account_of};
use crate::names::{Day, Id};
use crate::publication::{ACCOUNTING_COMMANDS, Body};

/// A ledger in memory, append-only like the tables.
#[derive(Default)]
struct MemoryLedger {
    entries: RefCell<BTreeMap<String, Entry>>,
    accounts: RefCell<BTreeMap<String, i64>>,
    workers: RefCell<BTreeSet<Id>>,
}

impl MemoryLedger {
    fn held(&self, account: &str) -> i64 {
        self.accounts.borrow().get(account).copied().unwrap_or_default()
    }

    fn sum(&self) -> i64 {
        self.accounts.borrow().values().sum()
    }
}

impl Ledger for MemoryLedger {
    type Error = Infallible;

    fn post(&self, entry: &Entry) -> Result<bool, Infallible> {
        let mut entries = self.entries.borrow_mut();
        if entries.contains_key(&entry.id) {
            return Ok(false);
        }
        entries.insert(entry.id.clone(), entry.clone());
        self.workers.borrow_mut().insert(entry.worker.clone());
        for posting in entry.postings() {
            *self.accounts.borrow_mut().entry(posting.account).or_default() += posting.amount;
        }
        Ok(true)
    }

    fn balance(&self, worker: &Id) -> Result<i64, Infallible> {
        Ok(self.held(&account_of(worker)))
    }

    fn workers_after(&self, after: Option<&Id>, most: usize) -> Result<Vec<Id>, Infallible> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let workers = self.workers.borrow();
        Ok(workers.range((from, Bound::Unbounded)).take(most).cloned().collect())
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
    let fee = assigned(&ledger, &moved("t-1", "w-1")).unwrap().unwrap();
    let reward = completed(&ledger, &moved("t-1", "w-1")).unwrap().unwrap();
    assert_eq!(entry_of(&fee), (Kind::Fee, "w-1".into(), -draw::fee(&id("t-1"))));
    assert_eq!(entry_of(&reward), (Kind::Reward, "w-1".into(), draw::reward(&id("t-1"))));

    assert_eq!(completed(&ledger, &moved("t-1", "w-2")).unwrap(), None);
    assert_eq!(ledger.entries.borrow().len(), 2);
    assert_eq!(ledger.sum(), 0);
    assert_eq!(ledger.held(COMPANY), draw::fee(&id("t-1")) - draw::reward(&id("t-1")));
}

#[test]
fn the_first_assignment_of_a_task_stands() {
    let ledger = MemoryLedger::default();
    assert!(assigned(&ledger, &moved("t-1", "w-1")).unwrap().is_some());
    let later = TaskMoved { day: day("2026-11-22"), ..moved("t-1", "w-2") };
    assert_eq!(assigned(&ledger, &later).unwrap(), None);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), -draw::fee(&id("t-1")));
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

/// The whole evening of a large exchange: no event makes more records than a page and its successor, each of
/// 100,000 workers is on one page, everybody who holds something is paid all of it, and the books balance.
#[test]
fn a_hundred_thousand_workers_are_paid_page_by_page() {
    const WORKERS: usize = 100_000;
    let ledger = MemoryLedger::default();
    let (mut in_the_red, mut to_pay) = (0, 0);
    for worker in 0..WORKERS {
        let event = moved(&format!("t-{worker}"), &format!("w-{worker}"));
        assigned(&ledger, &event).unwrap();
        // Every third never finishes, and owes the fee.
        if worker % 3 > 0 {
            completed(&ledger, &event).unwrap();
        }
        match ledger.balance(&event.worker).unwrap() {
            held if held > 0 => to_pay += held,
            held => in_the_red += i64::from(held < 0),
        }
    }
    let pages = walk(&ledger);
    assert_eq!(pages.len(), WORKERS / PAGE_WORKERS_MAX + 1);
    assert!(pages.iter().all(|page| page.len() <= PAGE_WORKERS_MAX));
    let due_workers: BTreeSet<&String> = pages.iter().flatten().collect();
    assert_eq!((due_workers.len(), pages.iter().map(Vec::len).sum()), (WORKERS, WORKERS));

    let mut paid = 0;
    for worker in pages.iter().flatten() {
        let told = due(&ledger, &PayoutDue { day: day("2026-11-21"), worker: id(worker) }).unwrap();
        for publication in told {
            if let Body::Made(made) = publication.body {
                paid += made.amount;
            }
        }
    }
    assert_eq!((paid, ledger.held(CASH)), (to_pay, to_pay));
    assert_eq!(ledger.sum(), 0);
    let accounts = ledger.accounts.borrow();
    let of_workers = accounts.iter().filter(|(account, _)| account.starts_with("worker:"));
    let (left, debts) = of_workers
        .fold((0, 0), |(left, debts), (_, held)| (left + i64::from(*held > 0), debts + i64::from(*held < 0)));
    assert_eq!((left, debts), (0, in_the_red), "debts carry over, and nothing else is left");
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

    // What is earned later is paid with the next day, even if this one is closed again.
    completed(&ledger, &moved("t-2", "w-1")).unwrap();
    assert_eq!(due(&ledger, &due_today).unwrap(), []);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), draw::reward(&id("t-2")));
    let tomorrow = PayoutDue { day: day("2026-11-22"), worker: id("w-1") };
    assert_eq!(due(&ledger, &tomorrow).unwrap().len(), 2);
    assert_eq!(ledger.balance(&id("w-1")).unwrap(), 0);
    assert_eq!(ledger.sum(), 0);
}

#[test]
fn only_a_positive_balance_is_paid_and_debts_carry_over() {
    let ledger = MemoryLedger::default();
    let due_on = |date: &str| PayoutDue { day: day(date), worker: id("w-1") };
    assert_eq!(due(&ledger, &due_on("2026-11-20")).unwrap(), [], "nothing was ever held");
    assigned(&ledger, &moved("t-1", "w-1")).unwrap();
    assert_eq!(due(&ledger, &due_on("2026-11-21")).unwrap(), []);
    assert_eq!(ledger.entries.borrow().len(), 1);

    completed(&ledger, &moved("t-2", "w-1")).unwrap();
    let held = draw::reward(&id("t-2")) - draw::fee(&id("t-1"));
    let paid = due(&ledger, &due_on("2026-11-22")).unwrap();
    assert_eq!(paid.first().map(entry_of), Some((Kind::Payout, "w-1".into(), -held)));
}
