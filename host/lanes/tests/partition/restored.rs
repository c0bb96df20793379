//! What an earlier assignment left behind: its gap set is honoured, its attempts are forgotten.

use keylane_lanes::{Ending, GapSet, Input, Policy, Verdict};

use crate::stage::{RETRY, Stage, end, gap_set, quick};

/// 5 is where reading starts; 7, 8 and 11 have ended.
fn stage() -> Stage {
    Stage::restored(quick(), gap_set(5, &[(7, 9), (11, 12)]))
}

#[test]
fn the_watermark_is_the_base_until_it_moves() {
    let stage = stage();
    assert_eq!((stage.partition.watermark(), stage.partition.blocking()), (5, None));
    assert_eq!(stage.partition.gap_set(), gap_set(5, &[(7, 9), (11, 12)]));
}

#[test]
fn what_ended_before_ends_at_once_whatever_it_is() {
    let mut stage = stage();
    stage.arrives(5, 1);
    assert_eq!(stage.arrives(7, 1), [end(7, Ending::Before)]);
    assert_eq!(stage.step(Input::Skipped { offset: 8 }), [end(8, Ending::Before)]);
    assert_eq!(stage.step(Input::Condemned { offset: 11 }), [end(11, Ending::Before)], "not buried twice");
    assert!(stage.partition.is_quiet());
    assert_eq!(stage.slot(1).unwrap().1, [(5, 1)], "nothing else is left to run");
}

#[test]
fn a_gap_set_is_handed_over_and_over() {
    let mut stage = stage();
    for offset in [5, 6, 9, 10] {
        stage.arrives(offset, offset as u64);
    }
    let (run, attempts) = stage.slot(1).unwrap();
    assert_eq!(attempts.len(), 4);
    stage.ends(run, &[RETRY, Verdict::Done, Verdict::NotStarted, Verdict::Done]);
    let handed = stage.partition.gap_set();
    assert_eq!(handed, gap_set(5, &[(6, 9), (10, 12)]));
    let mut next = Stage::restored(quick(), handed);
    for offset in 5..12 {
        let before = !next.arrives(offset, offset as u64).is_empty();
        assert_eq!(before, ![5, 9].contains(&offset), "{offset}");
    }
    assert_eq!(next.slot(1).unwrap().1, [(5, 1), (9, 1)], "attempts start anew after a hand-over");
}

#[test]
fn a_gap_set_cut_to_a_prefix_costs_work_and_no_event() {
    let mut stage = Stage::restored(quick(), gap_set(5, &[(7, 8)]));
    (5..12).for_each(|offset| drop(stage.arrives(offset, offset as u64)));
    let (run, attempts) = stage.slot(1).unwrap();
    assert_eq!(attempts.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [5, 6, 8, 9, 10, 11]);
    stage.ends(run, &[Verdict::Done; 6]);
    assert_eq!(stage.partition.watermark(), 12);
}

#[test]
fn a_restored_range_compacted_away_blocks_nothing() {
    let mut stage = stage();
    stage.arrives(5, 1);
    stage.arrives(20, 2);
    stage.runs(&[Verdict::Done, RETRY]);
    assert_eq!((stage.partition.watermark(), stage.partition.gap_set()), (20, GapSet::at(20)));
}

#[test]
fn the_watermark_steps_over_a_restored_range_at_the_logs_end() {
    let mut stage = stage();
    stage.step(Input::Reached { next: 7 });
    assert_eq!(stage.partition.watermark(), 9);
    stage.step(Input::Reached { next: 11 });
    assert_eq!((stage.partition.watermark(), stage.partition.gap_set()), (12, GapSet::at(12)));
    stage.arrives(12, 1);
    assert_eq!(stage.partition.blocking(), Some(12));
}

#[test]
fn what_ended_before_takes_no_room_in_the_gap() {
    let policy = Policy { gap_max: 2, ..quick() };
    let mut stage = Stage::restored(policy, gap_set(0, &[(1, 1_000)]));
    stage.arrives(0, 1);
    for offset in 1..1_000 {
        assert!(stage.partition.admits());
        assert_eq!(stage.arrives(offset, 1), [end(offset, Ending::Before)]);
    }
    assert_eq!(stage.partition.gap(), 1);
}

#[test]
fn only_sound_gap_sets_are_taken() {
    let sound = |base: i64, ended: &[(i64, i64)]| gap_set(base, ended).is_sound();
    assert!(sound(0, &[]) && sound(5, &[(6, 7), (8, 20)]));
    assert!(!sound(-1, &[]), "before the log");
    assert!(!sound(5, &[(5, 7)]), "the watermark would be 7");
    assert!(!sound(5, &[(6, 6)]) && !sound(5, &[(8, 7)]), "empty");
    assert!(!sound(5, &[(6, 9), (8, 10)]), "overlapping");
    assert!(!sound(5, &[(6, 8), (8, 10)]), "in two pieces");
    assert!(!sound(5, &[(10, 12), (7, 8)]), "out of order");
    assert!(!sound(5, &[(3, 4)]), "below the base");
}

#[test]
#[should_panic(expected = "out of order")]
fn an_unsound_gap_set_is_refused() {
    Stage::restored(quick(), gap_set(5, &[(5, 6)]));
}
