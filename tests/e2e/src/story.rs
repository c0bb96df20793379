//! The task exchange's events, from a seed: tasks are assigned and completed, a few workers get most of
//! them, some tasks are told twice, and a few records are broken.

use std::collections::BTreeSet;

use crate::broker::Record;

/// The topic of the tasks.
pub const TASKS: &str = "task-lifecycle";
/// The topic of the days.
pub const DAYS: &str = "day-lifecycle";

/// A day of the story, with the ISO week and the month that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// `YYYY-MM-DD`
    pub day: &'static str,
    /// `YYYY-Www`
    pub week: &'static str,
    /// `YYYY-MM`
    pub month: &'static str,
}

/// The days, around a new year, where weeks, months and years disagree. Looked up in a calendar.
pub const CALENDAR: [Day; 3] = [
    Day { day: "2026-12-31", week: "2026-W53", month: "2026-12" },
    Day { day: "2027-01-01", week: "2026-W53", month: "2027-01" },
    Day { day: "2027-01-04", week: "2027-W01", month: "2027-01" },
];

/// The day that closes while the host works.
pub const CLOSES_MIDWAY: &str = "2027-01-01";
/// The day that closes when all else is done.
pub const CLOSES_LAST: &str = "2027-01-04";

/// How much happens.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Tasks.
    pub tasks: usize,
    /// Workers, of whom the first are the busiest.
    pub workers: usize,
    /// The same seed tells the same story.
    pub seed: u64,
}

/// A seeded source of numbers (splitmix64).
pub struct Numbers(pub u64);

impl Numbers {
    /// The next one.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One below this.
    pub fn below(&mut self, most: usize) -> usize {
        (self.draw() % most.max(1) as u64) as usize
    }
}

/// Draws ranks from 0 with Zipf's weights: the second half as often as the first, the third a third.
pub struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    /// For so many ranks.
    #[must_use]
    pub fn new(ranks: usize) -> Self {
        let weights = (1..=ranks).map(|rank| 1.0 / rank as f64);
        let sums = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { sums: sums.collect() }
    }

    /// The next rank.
    pub fn draw(&self, numbers: &mut Numbers) -> usize {
        let whole = self.sums.last().copied().unwrap_or_default();
        let point = numbers.draw() as f64 / u64::MAX as f64 * whole;
        self.sums.partition_point(|sum| *sum < point).min(self.sums.len().saturating_sub(1))
    }
}

/// Records for [`TASKS`].
pub struct Story {
    /// All of them, in the order in which they are to be written.
    pub records: Vec<Record>,
    /// Those among them that no handler can read.
    pub broken: Vec<Record>,
}

impl Story {
    /// How many fees and rewards it makes: one for each task that is assigned, and for each completed one.
    #[must_use]
    pub fn movements(&self) -> usize {
        let told = self.records.iter().filter(|record| !self.broken.contains(record));
        let moves = told.map(|record| (record.header("ce_type"), &record.key));
        moves.filter(|(told, _)| *told != Some("task.renamed")).collect::<BTreeSet<_>>().len()
    }
}

/// Tells the story.
#[must_use]
pub fn tell(scale: Scale) -> Story {
    let mut teller = Teller {
        numbers: Numbers(scale.seed),
        zipf: Zipf::new(scale.workers),
        records: Vec::new(),
        open: Vec::new(),
    };
    for task in 0..scale.tasks {
        let day = CALENDAR.get(task * CALENDAR.len() / scale.tasks).map_or(CLOSES_LAST, |day| day.day);
        teller.one_task(&format!("t-{task:05}"), day);
    }
    let mut records = teller.records;
    let broken: Vec<Record> = (0..KINDS_OF_BROKEN).map(|kind| insert_broken(&mut records, kind)).collect();
    Story { records, broken }
}

struct Teller {
    numbers: Numbers,
    zipf: Zipf,
    records: Vec<Record>,
    /// Assigned and not completed: task and worker.
    open: Vec<(String, String)>,
}

impl Teller {
    /// A task is assigned; about nine in ten are completed at some later time.
    fn one_task(&mut self, task: &str, day: &str) {
        let worker = self.worker();
        self.tell("task.assigned", task, &worker, day);
        let mut holder = worker;
        if self.numbers.below(20) == 0 {
            // Assigned again, to somebody else perhaps: the first assignment was the charged one.
            holder = self.worker();
            self.tell("task.assigned", task, &holder, day);
        }
        self.open.push((task.to_owned(), holder));
        while self.open.len() > 40 || self.numbers.below(10) < 4 {
            if self.open.is_empty() {
                return;
            }
            let at = self.numbers.below(self.open.len());
            let (task, worker) = self.open.swap_remove(at);
            if self.numbers.below(10) > 0 && !(is_idle(&worker) && self.numbers.below(5) > 0) {
                self.complete(&task, &worker, day);
            }
        }
    }

    fn complete(&mut self, task: &str, worker: &str, day: &str) {
        self.tell("task.completed", task, worker, day);
        if self.numbers.below(50) == 0 {
            // Told again, and of somebody else: the first completion was the credited one.
            let other = self.worker();
            self.tell("task.completed", task, &other, day);
        }
    }

    fn worker(&mut self) -> String {
        format!("w-{:03}", self.zipf.draw(&mut self.numbers))
    }

    fn tell(&mut self, event_type: &str, task: &str, worker: &str, day: &str) {
        let title = format!("Paint the {} shed, träumerisch", task.trim_start_matches("t-"));
        let body = format!(r#"{{"task":"{task}","worker":"{worker}","title":"{title}","day":"{day}"}}"#);
        let id = format!("{event_type}/{task}/{}", self.records.len());
        self.records.push(event(event_type, "tracker", &id, task, body));
        if self.numbers.below(40) == 0 {
            // A type that nobody asked for: it ends without entering the sandbox.
            let body = format!(r#"{{"task":"{task}","title":"{title}, twice"}}"#);
            self.records.push(event("task.renamed", "tracker", &format!("{id}/renamed"), task, body));
        }
    }
}

/// Some workers take tasks and complete few of them: they will owe the company money.
fn is_idle(worker: &str) -> bool {
    worker.ends_with('4')
}

/// An event in CloudEvents' binary mode.
fn event(event_type: &str, source: &str, id: &str, key: &str, body: String) -> Record {
    let headers = [("ce_specversion", "1.0"), ("ce_id", id), ("ce_source", source), ("ce_type", event_type)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Record { key: Some(key.to_owned()), value: Some(body), headers }
}

/// A day closes.
#[must_use]
pub fn day_closed(day: &str) -> Record {
    event("day.closed", "calendar", &format!("closed/{day}"), day, format!(r#"{{"day":"{day}"}}"#))
}

/// How many ways there are for a record to be broken.
const KINDS_OF_BROKEN: usize = 6;

/// Puts a broken record behind the assignment of a task, spread over the story, and answers it. Most have
/// the task's key, so that the key's later events have to go on behind them.
fn insert_broken(records: &mut Vec<Record>, kind: usize) -> Record {
    let from = (kind + 1) * records.len() / (KINDS_OF_BROKEN + 1);
    let assigned = |record: &Record| record.header("ce_type") == Some("task.assigned");
    let at = records.iter().skip(from).position(assigned).map_or(records.len(), |ahead| from + ahead + 1);
    let key = records.get(at.saturating_sub(1)).and_then(|record| record.key.clone()).unwrap_or_default();
    let record = broken(kind, &key);
    records.insert(at, record.clone());
    record
}

/// Each kind is such that every handler which asks for `task.completed` gets it and must refuse it.
fn broken(kind: usize, key: &str) -> Record {
    let completed =
        |body: &str| event("task.completed", "tracker", &format!("broken/{kind}"), key, body.to_owned());
    match kind {
        0 => completed(r#"{"task":"t-1","worker":"#),
        1 => Record { headers: vec![("origin".into(), "by hand".into())], ..completed("{}") },
        2 => Record {
            headers: Vec::new(),
            ..completed(r#"{"task": "no headers", "note": "ünd, commas: two"}"#)
        },
        3 => Record { value: None, ..completed("") },
        4 => Record { key: None, ..completed("not JSON at all") },
        _ => completed("[]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_tells_the_same_story() {
        let scale = Scale { tasks: 500, workers: 20, seed: 7 };
        let (one, two) = (tell(scale), tell(scale));
        assert_eq!(one.records, two.records);
        assert_ne!(one.records, tell(Scale { seed: 8, ..scale }).records);
        let types: std::collections::BTreeSet<_> =
            one.records.iter().map(|record| record.header("ce_type")).collect();
        assert_eq!(types.len(), 4, "{types:?}");
        assert!(one.broken.iter().all(|broken| one.records.contains(broken)));
    }

    #[test]
    fn the_first_ranks_are_drawn_most() {
        let (zipf, mut numbers) = (Zipf::new(100), Numbers(1));
        let mut drawn = vec![0_u32; 100];
        (0..10_000).for_each(|_| drawn[zipf.draw(&mut numbers)] += 1);
        assert!(drawn[0] > drawn[4] && drawn[4] > drawn[40], "{drawn:?}");
        assert!(drawn.iter().all(|count| *count > 0));
    }
}
