//! What accounting does on each event: writes to the ledger, and answers what is to be published.

use crate::draw;
use crate::events::{DayClosed, PayoutDue, PayoutPage, TaskMoved};
use crate::ledger::{Entry, Ledger, Payout};
use crate::publication::Publication;

#[cfg(test)]
mod tests;

/// The most workers that one `payout.page` walks through.
pub const PAGE_WORKERS_MAX: usize = 1_000;

/// Charges the worker of an assigned task, once for each task.
///
/// # Errors
/// What the ledger answered.
pub fn assigned<L: Ledger>(ledger: &L, event: &TaskMoved) -> Result<Publication, L::Error> {
    let fee = Entry::fee(&event.task, &event.worker, &event.day, draw::fee(&event.task));
    Ok(Publication::posted(ledger.post(fee)?))
}

/// Credits the worker of a completed task, once for each task.
///
/// # Errors
/// What the ledger answered.
pub fn completed<L: Ledger>(ledger: &L, event: &TaskMoved) -> Result<Publication, L::Error> {
    let reward = Entry::reward(&event.task, &event.worker, &event.day, draw::reward(&event.task));
    Ok(Publication::posted(ledger.post(reward)?))
}

/// Begins to pay a closed day.
#[must_use]
pub fn closed(event: &DayClosed) -> Publication {
    Publication::page(event.day.clone(), None)
}

/// Walks one page of workers: a payout is due for each, and a full page is followed by another.
///
/// A repeat may find workers that were not there before, so that its page ends elsewhere. That is
/// harmless: whoever had an account when the day closed is on some page in either case, and who is on
/// two is paid once.
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

/// Pays a worker what the ledger holds, if that is positive, once for each worker and day.
///
/// The first decision stands, also that nothing was due: what is earned after it belongs to the next
/// payout, however often this event is repeated.
///
/// # Errors
/// What the ledger answered.
pub fn due<L: Ledger>(ledger: &L, event: &PayoutDue) -> Result<Vec<Publication>, L::Error> {
    let payout = match ledger.payout(&event.worker, &event.day)? {
        Some(decided) => decided,
        None => decide(ledger, event)?,
    };
    Ok(Publication::paid(payout))
}

fn decide<L: Ledger>(ledger: &L, event: &PayoutDue) -> Result<Payout, L::Error> {
    let payout = Payout::decide(&event.worker, &event.day, ledger.balance(&event.worker)?);
    ledger.keep(&payout)?;
    if let Some(entry) = payout.entry() {
        ledger.post(entry)?;
    }
    Ok(payout)
}
