//! What is held, told and let go.

use super::*;
use crate::assignment::{Token, TopicId};
use crate::progress::ProgressMaker;

fn record(value: &'static str) -> OutgoingRecord {
    OutgoingRecord { topic: "out".to_owned(), key: None, value: Some(value.into()), headers: Vec::new() }
}

fn basket() -> Basket {
    Basket::new(Arc::new(|_| record("letter")), BTreeMap::from([(7, "too large".to_owned())]))
}

fn progress() -> Progress {
    ProgressMaker::of_group(Token::numbered(1), TopicId::new([1; 16])).without_gap(3)
}

fn offsets(snapshot: &Snapshot) -> Vec<i64> {
    snapshot.endings.iter().map(|ending| ending.offset).collect()
}

#[test]
fn what_is_not_committed_is_in_the_next_snapshot_again() {
    let mut basket = basket();
    basket.hold(2, vec![record("a")]);
    basket.hold(0, vec![record("b"), record("c")]);
    basket.hold(1, Vec::new());
    let first = basket.snapshot(progress(), |_| true);
    assert_eq!(offsets(&first), [2, 0], "in the order of ending, and only what gave something out");
    basket.hold(3, vec![record("d")]);
    let second = basket.snapshot(progress(), |_| true);
    assert_eq!(offsets(&second), [2, 0, 3]);
    basket.committed(first.number);
    assert_eq!(basket.size().0, 4, "what is said of a snapshot that another one replaced says nothing");
    basket.committed(second.number);
    assert_eq!(basket.size(), (0, 0));
    basket.committed(second.number);
    assert_eq!(offsets(&basket.snapshot(progress(), |_| true)), Vec::<i64>::new());
}

#[test]
fn what_the_progress_does_not_tell_of_stays() {
    let mut basket = basket();
    for offset in 0..4 {
        basket.hold(offset, vec![record("a")]);
    }
    let cut = basket.snapshot(progress(), |offset| offset != 2);
    assert_eq!(offsets(&cut), [0, 1, 3]);
    basket.hold(4, vec![record("a")]);
    basket.committed(cut.number);
    assert_eq!(offsets(&basket.snapshot(progress(), |_| true)), [2, 4]);
}

#[test]
fn a_basket_is_full_by_records_and_by_bytes() {
    let mut few = basket();
    few.hold(0, vec![OutgoingRecord { value: Some(vec![0; CUT_BYTES_MAX].into()), ..record("") }]);
    assert!(few.is_full());
    let mut many = basket();
    many.hold(0, vec![record("a"); CUT_RECORDS_MAX - 1]);
    assert!(!many.is_full());
    many.hold(1, vec![record("a")]);
    assert!(many.is_full());
    let cut = many.snapshot(progress(), |_| true);
    many.committed(cut.number);
    assert!(!many.is_full());
}

#[test]
fn a_refusal_is_told_once() {
    let mut basket = basket();
    assert_eq!(basket.take_refused(6), None);
    assert_eq!(basket.take_refused(7).as_deref(), Some("too large"));
    assert_eq!(basket.take_refused(7), None);
}
