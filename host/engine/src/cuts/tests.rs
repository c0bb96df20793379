//! What is held, told and let go.

use super::*;
use crate::assignment::{Token, TopicId};
use crate::event::Header;
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

/// Else a partition whose progress can tell of nothing more would wait for ever for a cut that has nothing in it.
#[test]
fn what_no_cut_can_take_holds_nothing_up() {
    let mut basket = basket();
    assert!(!basket.is_stuck());
    basket.hold(4, vec![record("a")]);
    basket.hold(9, vec![record("a")]);
    assert!(!basket.is_stuck(), "not asked yet");
    let first = basket.snapshot(progress(), |offset| offset == 4);
    assert!(!basket.is_stuck(), "a part of it is on its way");
    basket.committed(first.number);
    assert!(basket.is_stuck());
    basket.hold(3, vec![record("a")]);
    assert!(!basket.is_stuck(), "the next cut may have it");
    let second = basket.snapshot(progress(), |_| true);
    basket.committed(second.number);
    assert!(!basket.is_stuck());
}

#[test]
fn what_is_held_and_let_go_is_told_by_its_weight_with_headers() {
    let mut basket = basket();
    let header = Header { name: "name".to_owned(), value: Some(vec![0; 10_000].into()) };
    let heavy = OutgoingRecord { headers: vec![header; 100], ..record("a") };
    assert!(heavy.weight_bytes() > 1_000_000, "{}", heavy.weight_bytes());
    let held = basket.hold(0, vec![heavy.clone(), heavy.clone()]);
    assert_eq!((held, basket.size()), (2 * heavy.weight_bytes(), (2, held)));
    let snapshot = basket.snapshot(progress(), |_| true);
    assert_eq!(basket.committed(snapshot.number), held);
    assert_eq!((basket.committed(snapshot.number), basket.size()), (0, (0, 0)));
}

#[test]
fn a_refusal_is_told_once() {
    let mut basket = basket();
    assert!(basket.has_refused() && basket.is_refused(7) && !basket.is_refused(6));
    assert_eq!(basket.take_refused(6), None);
    assert_eq!(basket.take_refused(7).as_deref(), Some("too large"));
    assert_eq!(basket.take_refused(7), None);
    assert!(!basket.has_refused());
}
