//! What accounting does on each event: writes to the ledger, and answers what is to be published.

use crate::draw;
use crate::events::{DayClosed, PayoutDue, PayoutPage, TaskMoved};
use crate::ledger::{Entry, Ledger};
use crate::publication::Publication;

#[cfg(test)]
mod tests;

/// The most workers that one `payout.page` walks through.
pub const PAGE_WORKERS_MAX: usize = 1_000;

/// Charges the worker of a task's first assignment. A later one, to whomever, changes nothing.
///
/// # Errors
/// What the ledger answered.
pub fn assigned<L: Ledger>(ledger: &L, event: &TaskMoved) -> Result<Option<Publication>, L::Error> {
    post(ledger, Entry::fee(&event.task, &event.worker, &event.day, draw::fee(&event.task)))
}

/// Credits the worker of a task's first completion. A later one, of whomever, changes nothing.
///
/// # Errors
/// What the ledger answered.
pub fn completed<L: Ledger>(ledger: &L, event: &TaskMoved) -> Result<Option<Publication>, L::Error> {
    post(ledger, Entry::reward(&event.task, &event.worker, &event.day, draw::reward(&event.task)))
}

fn post<L: Ledger>(ledger: &L, entry: Entry) -> Result<Option<Publication>, L::Error> {
    let posted = ledger.post(&entry)?;
    Ok(posted.then(|| Publication::posted(entry)))
}

/// Begins to pay a closed day.
#[must_use]
pub fn closed(event: &DayClosed) -> Publication {
    Publication::page(event.day.clone(), None)
}

/// Walks one page of workers: a payout is due for each, and a full page is followed by another. Who has an
/// account when the day closes is on one page; who gets their first one meanwhile may be.
///
/// # Errors
/// What the ledger answered.
pub fn page<L: Ledger>(ledger: &L, event: &PayoutPage) -> Result<Vec<Publication>, L::Error> {
    let workers = ledger.workers_after(event.after.as_ref(), PAGE_WORKERS_MAX)?;
    let last = workers.last().filter(|_| workers.len() >= PAGE_WORKERS_MAX).cloned();
    let next = last.map(|last| Publication::page(event.day.clone(), Some(last)));
    let dues = workers.into_iter().map(|worker| Publication::due(event.day.clone(), worker));
    Ok(dues.chain(next).collect())
}

/// Pays a worker what the ledger holds, if that is positive; what it lacks is carried over. There is one
/// payout for a worker and a day: should the day be closed again, what came in meanwhile is paid with the
/// next one.
///
/// # Errors
/// What the ledger answered.
pub fn due<L: Ledger>(ledger: &L, event: &PayoutDue) -> Result<Vec<Publication>, L::Error> {
    let held = ledger.balance(&event.worker)?;
    let payout = Entry::payout(&event.worker, &event.day, held);
    let paid = held > 0 && ledger.post(&payout)?;
    Ok(if paid { Publication::paid(payout).into() } else { Vec::new() })
}
