//! The cross-checks: what was found against what a right host must end up with. Pure, so that each can be
//! shown to fail on wrong figures.

use std::collections::BTreeMap;
use std::fmt::Debug;

use keylane_engine::Totals;

use super::endings::Endings;
use super::exchange::Books;
use super::found::{CASH, Found};
use crate::print::grouped;

/// What a right host must end up with.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    /// The books.
    pub(super) books: Books,
    /// How each handler's records end.
    pub(super) endings: BTreeMap<String, Endings>,
}

/// One cross-check and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    /// What is checked.
    pub(super) name: &'static str,
    /// Whether it holds.
    pub(super) holds: bool,
    /// The figure, or what differs.
    pub(super) detail: String,
}

impl Check {
    fn number(name: &'static str, wanted: u64, found: u64) -> Self {
        let holds = wanted == found;
        let detail = match holds {
            true => grouped(found),
            false => format!("{} found, {} expected", grouped(found), grouped(wanted)),
        };
        Self { name, holds, detail }
    }

    /// Compares by name, and tells the first that differs.
    fn each<V: PartialEq + Debug>(
        name: &'static str,
        what: &str,
        wanted: &BTreeMap<String, V>,
        found: &BTreeMap<String, V>,
    ) -> Self {
        let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        let mut differing = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
        let detail = match differing.next() {
            None => format!("{} {what}", grouped(found.len() as u64)),
            Some(first) => {
                let told =
                    |value: Option<&V>| value.map_or("nothing".to_owned(), |value| format!("{value:?}"));
                let (found, wanted) = (told(found.get(first)), told(wanted.get(first)));
                format!("{first}: {found} found, {wanted} expected; {} more differ", differing.count())
            }
        };
        Self { name, holds: wanted == found, detail }
    }
}

/// All of them.
pub(super) fn checks(expected: &Expected, found: &Found) -> Vec<Check> {
    let books = &expected.books;
    vec![
        Check::number("entries in the ledger", books.entries, found.entries),
        sum(found),
        Check::each("what each worker holds", "workers", &books.workers, &found.workers()),
        payouts(books, found),
        Check::number("a mail for each payout", found.payouts, found.mails),
        done(expected, found),
        dead_letters(expected, found),
        left(found),
        Check::each("analytics' take is the ledger's", "days", &found.ledger_take, &found.take),
        Check::each("the take is the expected one", "days", &books.take, &found.take),
        Check::number("workers in the red", books.in_the_red(), found.in_the_red),
        Check::each("the dearest tasks", "days, weeks and months", &books.dearest, &found.dearest),
    ]
}

fn sum(found: &Found) -> Check {
    let sum: i64 = found.accounts.values().sum();
    let accounts = grouped(found.accounts.len() as u64);
    Check {
        name: "all accounts together hold 0",
        holds: sum == 0 && !found.accounts.is_empty(),
        detail: format!("{accounts} accounts, sum {sum}"),
    }
}

fn payouts(books: &Books, found: &Found) -> Check {
    let count = Check::number("payouts", books.payouts, found.payouts);
    let (paid, wanted) = (found.account(CASH), books.paid);
    if count.holds && paid != wanted {
        let detail = format!("{paid} units paid, {wanted} expected");
        return Check { holds: false, detail, ..count };
    }
    count
}

/// Facts that were published twice, or not at all, would be done twice or not at all by who reads them.
fn done(expected: &Expected, found: &Found) -> Check {
    by_handler("each event is done once", expected, found, |wanted| wanted.done, |totals| totals.done)
}

fn dead_letters(expected: &Expected, found: &Found) -> Check {
    let name = "dead letters are the broken ones";
    by_handler(name, expected, found, |wanted| wanted.dead_lettered, |totals| totals.dead_lettered)
}

/// Compares how many records of each handler ended in one way.
fn by_handler(
    name: &'static str,
    expected: &Expected,
    found: &Found,
    wanted: fn(&Endings) -> u64,
    counted: fn(&Totals) -> u64,
) -> Check {
    let wanted: BTreeMap<_, _> =
        expected.endings.iter().map(|(handler, endings)| (handler.clone(), wanted(endings))).collect();
    let counted: BTreeMap<_, _> =
        found.tallies.iter().map(|(handler, totals)| (handler.clone(), counted(totals))).collect();
    let check = Check::each(name, "", &wanted, &counted);
    match check.holds {
        true => Check { detail: grouped(counted.values().sum()), ..check },
        false => check,
    }
}

/// Everything that arrived has ended, and nothing waits in a topic.
fn left(found: &Found) -> Check {
    let arrived: u64 = found.tallies.iter().map(|(_, totals)| totals.arrived).sum();
    let ended: u64 = found.tallies.iter().map(|(_, totals)| totals.ended()).sum();
    let lag = found.lag.map_or("not known".to_owned(), grouped);
    Check {
        name: "nothing is left over",
        holds: found.lag == Some(0) && arrived == ended && ended > 0,
        detail: format!("{} of {} ended, lag {lag}", grouped(ended), grouped(arrived)),
    }
}

#[cfg(test)]
mod tests;
