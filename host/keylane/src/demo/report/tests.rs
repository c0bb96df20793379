//! The report on small figures: what a reader looks for is there, and a failed check cannot be missed.

use std::collections::BTreeMap;

use keylane_engine::Totals;

use super::*;
use crate::demo::exchange::{Books, Broken, Dearest};
use crate::demo::topics::TASK_LIFECYCLE;

fn text(checks: &[Check]) -> String {
    let place = tempfile::tempdir().unwrap();
    let folder = StateFolder::afresh(&place.path().join("demo")).unwrap();
    let mut books = Books::default();
    books.records.insert((TASK_LIFECYCLE, RecordKind::Whole("task.assigned")), 31_847);
    books.records.insert((TASK_LIFECYCLE, RecordKind::Broken(Broken::Untyped)), 6);
    books.records.insert((TASK_LIFECYCLE, RecordKind::Broken(Broken::UnknownType)), 2);
    let expected = Expected { books, ..Expected::default() };
    let accounts = [("worker:w-007", 1_234), ("worker:w-001", -5), (COMPANY, -2_229), (CASH, 1_000)];
    let totals = Totals { done: 50_000, skipped: 12, retried: 3, dead_lettered: 6, ..Totals::default() };
    let found = Found {
        entries: 50_000,
        accounts: accounts.map(|(name, held)| (name.to_owned(), held)).into(),
        mails: 1_455,
        in_the_red: 204,
        take: BTreeMap::from([("2026-02-02".to_owned(), -987)]),
        dearest: BTreeMap::from([("2026-W06".to_owned(), Dearest { reward: 40, task: "t-9".to_owned() })]),
        titles: BTreeMap::from([("t-9".to_owned(), "Paint the shed".to_owned())]),
        tallies: vec![("accounting".to_owned(), totals)],
        ..Found::default()
    };
    let report = Report {
        expected: &expected,
        found: &found,
        checks,
        folder: &folder,
        bootstrap: "127.0.0.1:4711",
        program: "bin/keylane",
        elapsed: Duration::from_secs(10),
    };
    report.text()
}

#[test]
fn figures_are_where_a_reader_looks_for_them() {
    let text = text(&[]);
    for words in [
        "task.assigned 31,847",
        "task.praised, which nobody asks for 2",
        "broken on purpose 6",
        "accounting 50,000 12 3 6",
        "Books: 50,000 entries balance",
        "together 0",
        "five largest balances: w-007 1,234, w-001 -5",
        "1,455 mails written",
        "the company's take on 2026-02-02, so far -987",
        "workers in the red 204",
        "dearest task of the week 2026-W06: Paint the shed (t-9) 40",
        "bin/keylane broker --port 4711 --data",
    ] {
        let found =
            text.lines().any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(words));
        assert!(found, "{words:?} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 110 || line.contains("--data")), "{text}");
}

#[test]
fn a_failed_check_cannot_be_missed() {
    let check = |holds| Check { name: "entries in the ledger", holds, detail: "9".to_owned() };
    assert!(text(&[check(true)]).contains("ok      entries in the ledger  9"));
    let failed = text(&[check(false), check(true)]);
    assert!(failed.contains("Cross-checks: 1 of 2 FAILED"), "{failed}");
    assert!(failed.contains("FAILED  entries in the ledger  9"), "{failed}");
}
