//! Every check holds on right figures, and fails when its figure alone is wrong.

use keylane_engine::Totals;

use super::*;
use crate::demo::exchange::Dearest;
use crate::demo::found::COMPANY;

/// Ann holds 7, Bob owes 3; 40 were paid out in two payouts. Two records were broken.
fn right() -> (Expected, Found) {
    let amounts = |amounts: &[(&str, i64)]| {
        amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect::<BTreeMap<_, _>>()
    };
    let dearest = BTreeMap::from([("2026-01".to_owned(), Dearest { reward: 40, task: "t-1".to_owned() })]);
    let books = Books {
        entries: 9,
        workers: amounts(&[("ann", 7), ("bob", -3)]),
        payouts: 2,
        paid: 40,
        take: amounts(&[("2026-01-29", -50), ("2026-01-30", 6)]),
        dearest: dearest.clone(),
        ..Books::default()
    };
    let endings = Endings { done: 5, filtered: 1, dead_lettered: 2 };
    let expected = Expected { books, endings: BTreeMap::from([("accounting".to_owned(), endings)]) };
    let totals = Totals { arrived: 8, skipped: 1, done: 5, dead_lettered: 2, ..Totals::default() };
    let found = Found {
        entries: 9,
        accounts: amounts(&[("worker:ann", 7), ("worker:bob", -3), (COMPANY, -44), (CASH, 40)]),
        payouts: 2,
        mails: 2,
        ledger_take: expected.books.take.clone(),
        take: expected.books.take.clone(),
        in_the_red: 1,
        dearest,
        tallies: vec![("accounting".to_owned(), totals)],
        lag: Some(0),
        ..Found::default()
    };
    (expected, found)
}

/// The checks that fail after this change of what was found.
fn failing(change: impl FnOnce(&mut Found)) -> Vec<&'static str> {
    let (expected, mut found) = right();
    change(&mut found);
    checks(&expected, &found).into_iter().filter(|check| !check.holds).map(|check| check.name).collect()
}

fn accounting(found: &mut Found) -> &mut Totals {
    &mut found.tallies[0].1
}

#[test]
fn right_figures_pass() {
    assert_eq!(failing(|_| ()), [""; 0]);
}

#[test]
fn one_wrong_figure_fails_its_own_check() {
    assert_eq!(failing(|found| found.entries -= 1), ["entries in the ledger"]);
    assert_eq!(
        failing(|found| *found.accounts.get_mut(COMPANY).unwrap() += 1),
        ["all accounts together hold 0"]
    );
    assert_eq!(failing(|found| found.mails += 1), ["a mail for each payout"]);
    assert_eq!(failing(|found| accounting(found).arrived += 1), ["nothing is left over"]);
    assert_eq!(failing(|found| found.lag = Some(1)), ["nothing is left over"]);
    assert_eq!(failing(|found| found.lag = None), ["nothing is left over"]);
    assert_eq!(failing(|found| found.in_the_red = 2), ["workers in the red"]);
    assert_eq!(failing(|found| found.dearest.clear()), ["the dearest tasks"]);
}

#[test]
fn money_that_moved_to_the_wrong_account_is_noticed() {
    let moved = failing(|found| {
        *found.accounts.get_mut("worker:ann").unwrap() += 1;
        *found.accounts.get_mut("worker:bob").unwrap() -= 1;
    });
    assert_eq!(moved, ["what each worker holds"]);
    let paid = failing(|found| {
        *found.accounts.get_mut(CASH).unwrap() += 1;
        *found.accounts.get_mut(COMPANY).unwrap() -= 1;
    });
    assert_eq!(paid, ["payouts"]);
}

#[test]
fn a_lost_payout_and_a_lost_mail_are_told_apart() {
    assert_eq!(failing(|found| found.payouts = 1), ["payouts", "a mail for each payout"]);
    assert_eq!(failing(|found| found.mails = 1), ["a mail for each payout"]);
}

#[test]
fn an_event_that_was_done_twice_is_noticed() {
    let twice = |found: &mut Found| {
        accounting(found).arrived += 1;
        accounting(found).done += 1;
    };
    assert_eq!(failing(twice), ["each event is done once"]);
}

#[test]
fn a_dead_letter_too_many_or_at_the_wrong_handler_is_noticed() {
    let name = "dead letters are the broken ones";
    let more = |found: &mut Found| {
        accounting(found).dead_lettered += 1;
        accounting(found).done -= 1;
    };
    assert_eq!(failing(more), ["each event is done once", name]);
    let elsewhere = |found: &mut Found| found.tallies[0].0 = "email".to_owned();
    assert_eq!(failing(elsewhere), ["each event is done once", name]);
}

#[test]
fn takes_are_compared_with_the_ledger_and_with_what_was_expected() {
    let both_wrong = failing(|found| {
        found.take.insert("2026-01-30".to_owned(), 7);
        found.ledger_take = found.take.clone();
    });
    assert_eq!(both_wrong, ["the take is the expected one"]);
    let analytics_wrong = failing(|found| found.take.retain(|day, _| day != "2026-01-30"));
    assert_eq!(analytics_wrong, ["analytics' take is the ledger's", "the take is the expected one"]);
}

#[test]
fn nothing_at_all_fails() {
    let (expected, _) = right();
    let held = checks(&expected, &Found::default()).into_iter().filter(|check| check.holds);
    // No mails for no payouts, and no take for an empty ledger.
    assert_eq!(
        held.map(|check| check.name).collect::<Vec<_>>(),
        ["a mail for each payout", "analytics' take is the ledger's"]
    );
}

#[test]
fn what_differs_is_told() {
    let (expected, mut found) = right();
    found.accounts.insert("worker:bob".to_owned(), 12);
    found.accounts.remove("worker:ann");
    let told = checks(&expected, &found);
    let told = told.iter().find(|check| check.name == "what each worker holds").unwrap();
    assert_eq!(told.detail, "ann: nothing found, 7 expected; 1 more differ");
}
