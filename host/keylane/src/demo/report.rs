//! The report at the end, as text: what went in, what became of it, the books, the mails, three figures of
//! analytics, the cross-checks, and where to look next.

use std::fmt::Write as _;
use std::time::Duration;

use super::checks::{Check, Expected};
use super::deploy::MAIL;
use super::exchange::{Broken, DAYS, DAYS_CLOSED, RecordKind};
use super::folder::StateFolder;
use super::found::{CASH, COMPANY, Found};
use super::gauges::ended;
use crate::print::{grouped, signed, table};

#[cfg(test)]
mod tests;

/// How many balances are shown.
const BALANCES: usize = 5;

/// What the report is about.
pub(super) struct Report<'a> {
    pub(super) expected: &'a Expected,
    pub(super) found: &'a Found,
    pub(super) checks: &'a [Check],
    pub(super) folder: &'a StateFolder,
    /// The address of the broker.
    pub(super) bootstrap: &'a str,
    /// As this program was called.
    pub(super) program: &'a str,
    /// How long it took.
    pub(super) elapsed: Duration,
}

impl Report<'_> {
    /// The whole report.
    pub(super) fn text(&self) -> String {
        let parts = [
            self.events(),
            self.took(),
            self.handlers(),
            self.books(),
            self.mails(),
            self.analytics(),
            self.checks(),
            self.where_to_look(),
        ];
        parts.join("\n\n")
    }

    fn events(&self) -> String {
        let (mut whole, mut unknown, mut broken) = (Vec::new(), 0, 0);
        for (kind, records) in self.expected.books.stream() {
            match kind {
                RecordKind::Whole(event_type) => whole.push((records, event_type)),
                RecordKind::Broken(Broken::UnknownType) => unknown += records,
                RecordKind::Broken(_) => broken += records,
            }
        }
        whole.sort_unstable_by(|one, other| other.cmp(one));
        let whole = whole.into_iter().map(|(records, event_type)| [event_type.to_owned(), grouped(records)]);
        let rest = [
            ["task.praised, which nobody asks for".to_owned(), grouped(unknown)],
            ["broken on purpose".to_owned(), grouped(broken)],
        ];
        table(["Events produced", "records"], whole.chain(rest))
    }

    fn handlers(&self) -> String {
        let rows = self.found.tallies.iter().map(|(handler, totals)| {
            let figures = [totals.done, totals.skipped, totals.retried, totals.dead_lettered].map(grouped);
            let [done, filtered, retried, dead_lettered] = figures;
            [handler.clone(), done, filtered, retried, dead_lettered]
        });
        table(["Handler", "done", "filtered", "retried", "dead-lettered"], rows)
    }

    fn books(&self) -> String {
        let found = self.found;
        let workers = found.workers();
        let rows = [
            ("what was paid out", found.account(CASH)),
            ("the company", found.account(COMPANY)),
            ("the workers", workers.values().sum()),
            ("together", found.accounts.values().sum()),
        ];
        let rows = rows.map(|(name, balance)| [name.to_owned(), signed(balance)]);
        let head = format!("Books: {} entries", grouped(found.entries));
        let accounts = table([&head, "balance"], rows);

        let mut largest: Vec<_> = workers.into_iter().collect();
        largest.sort_by(|(one, held), (other, other_held)| other_held.cmp(held).then(one.cmp(other)));
        let largest =
            largest.into_iter().take(BALANCES).map(|(worker, held)| format!("{worker} {}", signed(held)));
        let largest: Vec<_> = largest.collect();
        format!("{accounts}\n  five largest balances: {}", largest.join(", "))
    }

    fn mails(&self) -> String {
        let folder = self.folder.join(MAIL);
        format!("  {} mails written, one for each payout: {}", grouped(self.found.mails), folder.display())
    }

    fn analytics(&self) -> String {
        let (found, [.., today]) = (self.found, &DAYS);
        let take =
            |date: &str| found.take.get(date).map_or_else(|| "nothing".to_owned(), |take| signed(*take));
        let mut rows = vec![[format!("the company's take on {}, so far", today.date), take(today.date)]];
        if let Some(closed) = DAYS.get(DAYS_CLOSED - 1) {
            rows.push([format!("the company's take on {}", closed.date), take(closed.date)]);
        }
        rows.push(["workers in the red".to_owned(), grouped(found.in_the_red)]);
        for (span, period) in [("day", today.date), ("week", today.week), ("month", today.month)] {
            let Some(dearest) = found.dearest.get(period) else { continue };
            let title = found.titles.get(&dearest.task).map(String::as_str).unwrap_or_default();
            let name = format!("dearest task of the {span} {period}: {title} ({})", dearest.task);
            rows.push([name, signed(dearest.reward)]);
        }
        table(["Analytics", "figure"], rows)
    }

    fn checks(&self) -> String {
        let failed = self.checks.iter().filter(|check| !check.holds).count();
        let mut text = match failed {
            0 => format!("  Cross-checks: all {} hold", self.checks.len()),
            _ => format!("  Cross-checks: {failed} of {} FAILED", self.checks.len()),
        };
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in self.checks {
            let said = if check.holds { "ok    " } else { "FAILED" };
            // Writing to a string cannot fail.
            let _ = write!(text, "\n  {said}  {:width$}  {}", check.name, check.detail);
        }
        text
    }

    fn took(&self) -> String {
        let (ended, s) = (ended(&self.found.tallies), self.elapsed.as_secs_f64().max(0.001));
        let rate = grouped((ended as f64 / s) as u64);
        format!("  {} events ended in {s:.1} s, {rate} in a second", grouped(ended))
    }

    fn where_to_look(&self) -> String {
        let Self { program, bootstrap, .. } = self;
        let at = |name: &str| self.folder.join(name).display().to_string();
        let port = bootstrap.rsplit(':').next().unwrap_or_default();
        let (accounting, analytics, log) = (at("accounting.db"), at("analytics.db"), at(super::LOG));
        let (broker, host) = (at(super::BROKER), at("keylane.toml"));
        [
            "  Where to look next".to_owned(),
            format!("  the log             less {log}"),
            format!("  the books           sqlite3 {accounting} 'SELECT * FROM balances'"),
            format!("  the reports         sqlite3 {analytics} 'SELECT * FROM dearest_tasks'"),
            format!("  the topics          {program} broker --port {port} --data {broker}"),
            format!("  - its dead letters  kcat -b {bootstrap} -C -e -t task-lifecycle.accounting.dlq"),
            format!("  - the host on it    {program} host --config {host}"),
            "  how it works        README.md, ARCHITECTURE.md, handlers/events/README.md".to_owned(),
        ]
        .join("\n")
    }
}
