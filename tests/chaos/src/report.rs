//! What people read: lines while it runs, a table at the end.

use std::collections::BTreeMap;
use std::io::Write as _;

use crate::check::Tally;
use crate::plan::{Plan, names};

/// Says a line. Written to standard error itself, so that a test runner does not keep it.
pub fn say(line: &str) {
    // Nobody is left to tell when standard error itself is closed.
    let _ = writeln!(std::io::stderr(), "chaos: {line}");
}

/// What one round showed.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which round, from 1.
    pub round: u64,
    /// What it was drawn from.
    pub plan: Plan,
    /// What was counted.
    pub tally: Tally,
    /// Until all was handled, in milliseconds.
    pub drain_ms: u64,
    /// What was wrong.
    pub findings: usize,
}

const HEAD: [&str; 14] = [
    "round",
    "seed",
    "faults",
    "events",
    "done",
    "dead",
    "repeats",
    "killed",
    "stopped",
    "lost",
    "broker",
    "overlaps",
    "longest s",
    "drain s",
];

/// The table of all rounds.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    let mut total = sum(rows.iter().map(|row| row.tally));
    total.longest_ms = rows.iter().map(|row| row.tally.longest_ms).max().unwrap_or(0);
    let drain_ms = rows.iter().map(|row| row.drain_ms).max().unwrap_or(0);
    let faults: usize = rows.iter().map(|row| row.plan.faults.len()).sum();
    lines.push(numbers("all", "", faults.to_string(), &total, drain_ms));
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(String::len).max();
    let widths: Vec<_> = (0..HEAD.len()).map(|column| width(column).unwrap_or(0)).collect();
    let show = |line: &[String; 14]| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    let mut text = lines.iter().map(show).collect::<Vec<_>>().join("\n");
    let effects = rows.first().and_then(|row| row.plan.effects);
    let (drawn, possible) = (drawn(rows), names(effects));
    let drawn: Vec<_> =
        possible.iter().map(|name| format!("{name} {}", drawn.get(name).unwrap_or(&0))).collect();
    text.push_str(&format!(
        "\nfaults: {}\n{} attempts of events that do not fail by themselves\n\
         {} events were written twice by their producer's client when a broker was killed\n",
        drawn.join(", "),
        total.innocent,
        total.written_again,
    ));
    let what = if effects.is_some() { once(&total) } else { commits(&total) };
    text + &what
}

/// What was seen of commits while the rounds ran.
fn commits(total: &Tally) -> String {
    let Tally { commits, commits_back, .. } = total;
    format!("{commits} commits looked at, {commits_back} of them went back around a fault\n")
}

/// What was counted of effects that must happen once.
fn once(total: &Tally) -> String {
    let Tally { events, rows, done, dead, mails, mails_again, .. } = total;
    let Tally { lost, twice, out_of_order, stopped_inside, past_pruning, amid_commits, .. } = total;
    format!(
        "{events} events: {rows} rows, {done} records, {dead} dead letters, {mails} mails ({mails_again} came again, \
         with their Message-IDs): {lost} lost, {twice} twice, {out_of_order} out of order\n\
         {stopped_inside} hosts stood still in the middle of a transaction, {past_pruning} went on with what others \
         had taken and pruned\n{amid_commits} deaths of the database left open whether a commit was done\n"
    )
}

/// How often each fault was drawn.
fn drawn(rows: &[Row]) -> BTreeMap<&'static str, usize> {
    let mut drawn = BTreeMap::new();
    for planned in rows.iter().flat_map(|row| &row.plan.faults) {
        *drawn.entry(planned.fault.name()).or_insert(0) += 1;
    }
    drawn
}

fn cells(row: &Row) -> [String; 14] {
    let faults: Vec<_> = row.plan.faults.iter().map(|planned| planned.fault.name()).collect();
    let faults = if row.findings == 0 { faults.join(", ") } else { format!("FAILED: {}", faults.join(", ")) };
    numbers(&row.round.to_string(), &row.plan.seed.to_string(), faults, &row.tally, row.drain_ms)
}

fn numbers(round: &str, seed: &str, faults: String, tally: &Tally, drain_ms: u64) -> [String; 14] {
    let seconds = |ms: u64| format!("{}.{}", ms / 1000, ms % 1000 / 100);
    let repeats = tally.repeats();
    [
        round.to_owned(),
        seed.to_owned(),
        faults,
        tally.events.to_string(),
        tally.done.to_string(),
        tally.dead.to_string(),
        repeats.to_string(),
        tally.repeats_killed.to_string(),
        tally.repeats_stopped.to_string(),
        tally.repeats_lost.to_string(),
        tally.repeats_broker.to_string(),
        tally.overlaps.to_string(),
        seconds(tally.longest_ms),
        seconds(drain_ms),
    ]
}

fn sum(tallies: impl Iterator<Item = Tally>) -> Tally {
    tallies.fold(Tally::default(), |all, one| Tally {
        events: all.events + one.events,
        written_again: all.written_again + one.written_again,
        done: all.done + one.done,
        dead: all.dead + one.dead,
        repeats_killed: all.repeats_killed + one.repeats_killed,
        repeats_stopped: all.repeats_stopped + one.repeats_stopped,
        repeats_lost: all.repeats_lost + one.repeats_lost,
        repeats_broker: all.repeats_broker + one.repeats_broker,
        losses: all.losses + one.losses,
        overlaps: all.overlaps + one.overlaps,
        innocent: all.innocent + one.innocent,
        rows: all.rows + one.rows,
        mails: all.mails + one.mails,
        mails_again: all.mails_again + one.mails_again,
        lost: all.lost + one.lost,
        twice: all.twice + one.twice,
        out_of_order: all.out_of_order + one.out_of_order,
        stopped_inside: all.stopped_inside + one.stopped_inside,
        past_pruning: all.past_pruning + one.past_pruning,
        amid_commits: all.amid_commits + one.amid_commits,
        commits: all.commits + one.commits,
        commits_back: all.commits_back + one.commits_back,
        longest_ms: all.longest_ms.max(one.longest_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_sums_its_rows() {
        let tally =
            Tally { events: 10, repeats_killed: 1, repeats_broker: 2, longest_ms: 1_500, ..Tally::default() };
        let row =
            |round| Row { round, plan: Plan::draw(round, None), tally, drain_ms: 250 * round, findings: 0 };
        let table = table(&[row(1), row(2)]);
        let total = table.lines().find(|line| line.trim_start().starts_with("all")).unwrap();
        let numbers: Vec<_> = total.split_whitespace().skip(2).collect();
        assert_eq!(numbers, ["20", "0", "0", "6", "2", "0", "0", "4", "0", "1.5", "0.5"]);
    }
}
