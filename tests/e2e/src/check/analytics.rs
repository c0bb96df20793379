//! What the management asks of analytics, worked out again from the expected books.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::books::Books;
use super::same;
use crate::expected::{Expected, Movement};
use crate::sqlite::{Database, column};
use crate::story::CALENDAR;

/// Compares the views of analytics.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(books: &Books, expected: &Expected, file: &Path) -> Result<()> {
    let mut database = Database::open(file)?;
    take(&mut database, expected)?;
    in_the_red(&mut database, books)?;
    dearest(&mut database, expected)
}

/// Fees less rewards, by day.
fn take(database: &mut Database, expected: &Expected) -> Result<()> {
    let rows = database.rows("SELECT day, take FROM company_take ORDER BY day")?;
    let found = rows.iter().map(|row| Ok((column(row, "day")?, column(row, "take")?)));
    let found: Vec<(String, i64)> = found.collect::<Result<_>>()?;
    let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
    for movement in expected.fees.values().chain(expected.rewards.values()) {
        *wanted.entry(movement.day.clone()).or_default() -= movement.amount;
    }
    same("the company's take", &found, &wanted.into_iter().collect::<Vec<_>>())
}

/// Whoever holds less than nothing in the end.
fn in_the_red(database: &mut Database, books: &Books) -> Result<()> {
    let rows = database.rows("SELECT worker, balance FROM workers_in_the_red ORDER BY worker")?;
    let found = rows.iter().map(|row| Ok((column(row, "worker")?, column(row, "balance")?)));
    let found: Vec<(String, i64)> = found.collect::<Result<_>>()?;
    let negative = books.balances().into_iter().filter(|(_, balance)| *balance < 0);
    let wanted: Vec<_> = negative.map(|(worker, balance)| (worker.to_owned(), balance)).collect();
    ensure!(!wanted.is_empty(), "nobody is in the red: that shows little");
    same("workers in the red", &found, &wanted)
}

/// Span, period, task, title, worker, reward.
type Dearest = (String, String, String, Option<String>, String, i64);

/// The highest reward of each day, week and month; of several the first by the task's id.
fn dearest(database: &mut Database, expected: &Expected) -> Result<()> {
    let rows = database.rows("SELECT * FROM dearest_tasks")?;
    let found = rows.iter().map(|row| {
        Ok((
            column(row, "span")?,
            column(row, "period")?,
            column(row, "task")?,
            column(row, "title")?,
            column(row, "worker")?,
            column(row, "reward")?,
        ))
    });
    let mut found: Vec<Dearest> = found.collect::<Result<_>>()?;
    let mut best: BTreeMap<(&str, &str), (&str, &Movement)> = BTreeMap::new();
    for (task, movement) in &expected.rewards {
        let day =
            CALENDAR.iter().find(|day| day.day == movement.day).context("a day that is not in the story")?;
        for period in [("day", day.day), ("week", day.week), ("month", day.month)] {
            let rank = |(task, movement): (&str, &Movement)| (movement.amount, Reverse(task.to_owned()));
            let place = best.entry(period).or_insert((task, movement));
            if rank((task, movement)) > rank(*place) {
                *place = (task, movement);
            }
        }
    }
    let wanted = best.into_iter().map(|((span, period), (task, movement))| {
        let Movement { title, worker, amount, .. } = movement.clone();
        (span.to_owned(), period.to_owned(), task.to_owned(), Some(title), worker, amount)
    });
    let mut wanted: Vec<Dearest> = wanted.collect();
    found.sort();
    wanted.sort();
    same("dearest tasks", &found, &wanted)
}
