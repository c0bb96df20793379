//! Cases of the ledger: where the watermark stands and what the gap set holds.

use super::*;

/// A ledger at 5 where these have arrived, and some of them ended.
fn ledger(arrived: &[i64], ended: &[i64]) -> Ledger {
    with(GapSet::at(5), arrived, ended)
}

fn with(restored: GapSet, arrived: &[i64], ended: &[i64]) -> Ledger {
    let mut ledger = Ledger::new(restored);
    arrived.iter().for_each(|offset| assert!(ledger.arrive(*offset), "{offset} had ended before"));
    ended.iter().for_each(|offset| ledger.end(*offset));
    ledger
}

/// What had ended before, with a watermark at 5.
fn restored(ended: &[(i64, i64)]) -> GapSet {
    GapSet { base: 5, ended: ended.iter().map(|(start, end)| *start..*end).collect() }
}

/// Writing it down and reading it back must never make anything of it.
fn gaps(ledger: &Ledger) -> Vec<(i64, i64)> {
    let gap_set = ledger.gap_set();
    assert!(gap_set.is_sound(), "{gap_set:?}");
    assert_eq!(gap_set.base, ledger.watermark());
    assert_eq!(Ledger::new(gap_set.clone()).gap_set(), gap_set);
    gap_set.ended.iter().map(|range| (range.start, range.end)).collect()
}

#[test]
fn the_watermark_stays_below_the_first_unfinished() {
    let mut ledger = ledger(&[5, 6, 9], &[]);
    assert_eq!((ledger.watermark(), ledger.blocking()), (5, Some(5)));
    ledger.end(6);
    assert_eq!(ledger.watermark(), 5);
    ledger.end(5);
    assert_eq!(ledger.watermark(), 9, "7 and 8 never arrived and block nothing");
    ledger.end(9);
    assert_eq!((ledger.watermark(), ledger.blocking(), ledger.span()), (10, None, 0));
}

#[test]
fn the_watermark_is_the_base_until_it_moves() {
    let mut ledger = ledger(&[], &[]);
    assert_eq!(ledger.watermark(), 5);
    assert!(ledger.arrive(8));
    assert_eq!(ledger.watermark(), 8, "5 to 7 are not to come any more");
}

#[test]
fn what_the_client_has_passed_moves_the_watermark_up_to_the_first_unfinished() {
    let mut ledger = ledger(&[5], &[]);
    ledger.reach(20);
    assert_eq!(ledger.watermark(), 5);
    ledger.end(5);
    assert_eq!(ledger.watermark(), 20);
    ledger.reach(12);
    assert_eq!(ledger.watermark(), 20, "it never goes back");
}

#[test]
fn the_gap_set_holds_what_ended_above_the_watermark_exactly() {
    assert_eq!(gaps(&ledger(&[5, 6, 7, 8, 9], &[])), []);
    assert_eq!(gaps(&ledger(&[5, 6, 7, 8, 9], &[6])), [(6, 7)]);
    assert_eq!(gaps(&ledger(&[5, 6, 7, 8, 9], &[6, 7, 9])), [(6, 8), (9, 10)]);
    assert_eq!(gaps(&ledger(&[5, 6, 7, 8, 9], &[5, 6, 8])), [(8, 9)]);
}

#[test]
fn offsets_that_never_came_bridge_what_ended_and_nothing_else() {
    assert_eq!(gaps(&ledger(&[5, 7, 10, 13], &[7, 10])), [(7, 11)], "8 and 9 never came");
    assert_eq!(gaps(&ledger(&[5, 7, 10, 13], &[7, 13])), [(7, 8), (13, 14)], "10 is unfinished");
    assert_eq!(gaps(&ledger(&[5, 9], &[])), [], "6 to 8 are no use to anybody");
}

#[test]
fn what_had_ended_before_is_not_done_again() {
    let mut ledger = with(restored(&[(7, 9), (11, 13)]), &[5, 6], &[]);
    for (offset, fresh) in [(7, false), (8, false), (9, true), (11, false), (12, false), (13, true)] {
        assert_eq!(ledger.arrive(offset), fresh, "{offset}");
    }
    assert_eq!(ledger.span(), 4);
    assert_eq!(gaps(&ledger), [(7, 9), (11, 13)]);
    ledger.end(9);
    assert_eq!(gaps(&ledger), [(7, 13)], "10 never came");
    ledger.end(5);
    ledger.end(6);
    assert_eq!((ledger.watermark(), gaps(&ledger)), (13, vec![]));
}

#[test]
fn nothing_is_known_between_ranges_that_are_still_to_come() {
    let mut ledger = with(restored(&[(7, 9), (11, 13), (20, 22)]), &[5, 6], &[6]);
    assert_eq!(gaps(&ledger), [(6, 9), (11, 13), (20, 22)], "9, 10 and 13 to 19 may come");
    assert!(!ledger.arrive(7));
    assert_eq!(gaps(&ledger), [(6, 9), (11, 13), (20, 22)]);
    ledger.reach(11);
    assert_eq!(gaps(&ledger), [(6, 13), (20, 22)], "9 and 10 did not come");
    ledger.reach(19);
    assert_eq!(gaps(&ledger), [(6, 13), (20, 22)], "19 may come");
    ledger.reach(20);
    assert_eq!(gaps(&ledger), [(6, 22)]);
}

#[test]
fn the_watermark_steps_over_what_had_ended_before() {
    let mut ledger = with(restored(&[(6, 9), (10, 12)]), &[5], &[5]);
    assert_eq!((ledger.watermark(), gaps(&ledger)), (9, vec![(10, 12)]));
    assert!(!ledger.arrive(6), "it comes again, below the watermark, and is not done again");
    assert!(!ledger.arrive(8));
    assert_eq!(ledger.watermark(), 9);
    assert!(ledger.arrive(9));
    assert_eq!((ledger.watermark(), gaps(&ledger)), (9, vec![(10, 12)]));
    ledger.end(9);
    assert_eq!((ledger.watermark(), gaps(&ledger)), (12, vec![]));
}

#[test]
fn a_restored_range_may_be_compacted_away_in_part_or_whole() {
    let mut ledger = with(restored(&[(7, 12), (14, 16)]), &[5], &[]);
    assert!(!ledger.arrive(9), "7 and 8 were compacted away");
    assert!(ledger.arrive(13), "10 and 11 too");
    assert_eq!(gaps(&ledger), [(7, 12), (14, 16)]);
    assert!(ledger.arrive(18), "the second range as a whole");
    assert_eq!(gaps(&ledger), [(7, 12), (14, 16)]);
    ledger.end(13);
    assert_eq!(gaps(&ledger), [(7, 16)]);
    ledger.end(5);
    assert_eq!((ledger.watermark(), gaps(&ledger)), (18, vec![]));
}

#[test]
fn the_client_may_stand_inside_a_restored_range() {
    let mut ledger = with(restored(&[(7, 12)]), &[], &[]);
    ledger.reach(9);
    assert_eq!((ledger.watermark(), gaps(&ledger)), (12, vec![]));
    assert!(!ledger.arrive(11));
    assert!(ledger.arrive(12));
    assert_eq!(ledger.watermark(), 12);
}

#[test]
#[should_panic(expected = "ended twice")]
fn nothing_ends_twice() {
    let mut ledger = ledger(&[5, 6], &[6]);
    ledger.end(6);
}

#[test]
#[should_panic(expected = "nothing below 6 was to come")]
fn arrivals_are_in_order() {
    ledger(&[5, 5], &[]);
}

#[test]
#[should_panic(expected = "nothing below 9 was to come")]
fn what_the_client_has_passed_does_not_come() {
    let mut ledger = ledger(&[5], &[]);
    ledger.reach(9);
    ledger.arrive(8);
}
