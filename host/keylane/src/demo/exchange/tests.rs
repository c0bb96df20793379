//! The simulated exchange: what its stream must be like, and that the books follow from it.

use std::collections::{BTreeMap, BTreeSet};

use super::fact::{Fact, Happening, Moved};
use super::*;
use crate::demo::topics::TASK_LIFECYCLE;

const EVENTS: u64 = 50_000;

fn stream(seed: u64) -> Vec<Happening> {
    Exchange::new(Plan::of_events(seed, EVENTS, 500)).collect()
}

#[test]
fn a_seed_gives_one_stream_and_another_seed_another() {
    assert_eq!(stream(1), stream(1));
    assert_ne!(stream(1), stream(2));
}

#[test]
fn time_goes_forward_through_every_day() {
    let stream = stream(1);
    assert!(stream.is_sorted_by_key(|happening| happening.work_s));
    let days: BTreeSet<&str> = stream.iter().map(|happening| happening.day().date).collect();
    assert_eq!(days.len(), DAYS.len());
    let wanted = EVENTS - EVENTS / 50..EVENTS + EVENTS / 50;
    assert!(wanted.contains(&(stream.len() as u64)), "{}", stream.len());
}

#[test]
fn tasks_are_assigned_once_and_then_most_are_completed_once_by_the_same_worker() {
    let mut assigned = BTreeMap::new();
    let mut completed = BTreeSet::new();
    for happening in stream(1) {
        match happening.fact {
            Fact::Assigned(moved) => assert_eq!(assigned.insert(moved.task, moved.worker), None),
            Fact::Completed(moved) => {
                assert_eq!(assigned.get(&moved.task), Some(&moved.worker));
                assert!(completed.insert(moved.task));
            }
            Fact::Broken(_, moved) => assert!(!assigned.contains_key(&moved.task)),
        }
    }
    let share = completed.len() * 100 / assigned.len();
    assert!((60..70).contains(&share), "{share}");
    assert_eq!(assigned.into_values().collect::<BTreeSet<_>>().len(), 500);
}

#[test]
fn every_way_to_be_broken_comes_and_each_record_is_what_it_says() {
    let stream = stream(1);
    for broken in Broken::ALL {
        let mut records =
            stream.iter().filter(|happening| matches!(happening.fact, Fact::Broken(b, _) if b == broken));
        let record = records.next().unwrap().record();
        let told = record.headers.iter().find(|header| header.name == "ce_type");
        let told = told.and_then(|header| header.value.as_deref());
        assert_eq!(told, broken.event_type().map(str::as_bytes), "{broken:?}");
        let reads =
            record.value.as_deref().map(|body| serde_json::from_slice::<serde_json::Value>(body).is_ok());
        let wanted = match broken {
            Broken::CutShort => Some(false),
            Broken::Bodiless => None,
            Broken::Untyped | Broken::UnknownType => Some(true),
        };
        assert_eq!(reads, wanted, "{broken:?}");
    }
}

#[test]
fn a_records_key_is_its_task_and_its_body_is_as_documented() {
    let stream = stream(1);
    let first = stream.first().unwrap();
    let Fact::Assigned(moved) = &first.fact else { panic!("{first:?}") };
    let record = first.record();
    assert_eq!((record.topic.as_str(), record.key.as_deref()), (TASK_LIFECYCLE, Some(moved.task.as_bytes())));
    let body: serde_json::Value = serde_json::from_slice(&record.value.unwrap()).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "task": moved.task, "worker": moved.worker, "title": "Sweep the yard", "day": first.day().date
        })
    );
    let closing = closing_record(&DAYS[0]);
    assert_eq!(
        (closing.key.as_deref(), closing.value.as_deref()),
        (Some(b"2026-01-29".as_slice()), Some(br#"{"day":"2026-01-29"}"#.as_slice()))
    );
}

#[test]
fn the_books_balance_and_leave_something_to_look_at() {
    let books = Books::of(stream(1).into_iter());
    let company: i64 = books.take.values().sum();
    assert_eq!(company + books.paid + books.workers.values().sum::<i64>(), 0);
    let whole: u64 = books
        .stream()
        .iter()
        .filter_map(|(kind, records)| match kind {
            RecordKind::Whole(_) => Some(records),
            RecordKind::Broken(_) => None,
        })
        .sum();
    assert_eq!(books.entries, whole - DAYS_CLOSED as u64 + books.payouts);
    assert!(books.payouts > 800, "{}", books.payouts);
    assert!(books.in_the_red() > 50, "{}", books.in_the_red());
    assert!(books.workers.values().filter(|balance| **balance > 0).count() >= 5);
    assert_eq!(books.take.len(), DAYS.len());
    assert_eq!(books.dearest.len(), DAYS.len() + 2 + 2, "days, weeks and months");
}

/// A stream of two tasks, by hand: what the books say of it can be followed with a finger.
#[test]
fn small_books_are_right_to_the_unit() {
    let moved = |task: &str, worker: &str| Moved { task: task.to_owned(), worker: worker.to_owned() };
    let at = |work_s, fact| Happening { work_s, fact };
    let mut books = Books::default();
    // The documented draws: t-1 costs 10 and earns 20, t-2 costs 13 and earns 31.
    books.note(&at(0, Fact::Assigned(moved("t-1", "ann"))));
    books.note(&at(1, Fact::Completed(moved("t-1", "ann"))));
    books.note(&at(2, Fact::Assigned(moved("t-2", "bob"))));
    books.note(&at(3, Fact::Broken(Broken::CutShort, moved("t-3", "ann"))));
    assert_eq!((books.workers["ann"], books.workers["bob"]), (10, -13));
    assert_eq!((books.take["2026-01-29"], books.in_the_red()), (3, 1));

    books.close();
    assert_eq!((books.workers["ann"], books.workers["bob"]), (0, -13));
    assert_eq!((books.payouts, books.paid, books.entries), (1, 10, 4));

    books.note(&at(9 * 3_600, Fact::Completed(moved("t-2", "bob"))));
    assert_eq!((books.workers["bob"], books.take["2026-01-29"], books.take["2026-01-30"]), (18, 3, -31));
    let dearest = |reward, task: &str| Dearest { reward, task: task.to_owned() };
    assert_eq!(books.dearest["2026-01-29"], dearest(20, "t-1"));
    assert_eq!(books.dearest["2026-01-30"], dearest(31, "t-2"));
    assert_eq!(books.dearest["2026-01"], dearest(31, "t-2"));
    let broken = (TASK_LIFECYCLE, RecordKind::Broken(Broken::CutShort));
    assert_eq!(books.records[&broken], 1);
    assert_eq!(books.records[&("accounting-commands", RecordKind::Whole("payout.due"))], 2);
}
