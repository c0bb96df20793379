//! Slots among partitions: fair, never leaked, and fewer while runs are in each other's way.

use super::*;

/// As many slots as this stand gets now.
fn grab(stand: &Stand) -> Vec<Slot> {
    let mut slots = Vec::new();
    loop {
        stand.want(true);
        match stand.take() {
            Some(slot) => slots.push(slot),
            None => return slots,
        }
    }
}

#[test]
fn one_partition_alone_takes_all_slots() {
    let slots = Slots::new("bench", 16);
    let stand = slots.stand();
    assert_eq!(grab(&stand).len(), 16);
    stand.want(false);
    assert_eq!(slots.lock().used, 0, "given back when they were dropped");
}

#[test]
fn a_partition_whose_runs_hang_leaves_slots_to_the_others() {
    let slots = Slots::new("bench", 16);
    let (hanging, other) = (slots.stand(), slots.stand());
    let hung = grab(&hanging);
    assert_eq!(hung.len(), 14, "an eighth is kept back");
    assert_eq!(grab(&other).len(), 2);
}

#[test]
fn a_freed_slot_goes_to_the_partition_that_holds_the_fewest() {
    let slots = Slots::new("bench", 6);
    let (hot, mild, late) = (slots.stand(), slots.stand(), slots.stand());
    let mut of_hot = grab(&hot);
    assert_eq!(of_hot.len(), 6, "too few to keep any back");
    mild.want(true);
    late.want(true);
    let mut of_mild = Vec::new();
    let mut of_late = Vec::new();
    for _ in 0..4 {
        of_hot.pop();
        for (stand, held) in [(&mild, &mut of_mild), (&late, &mut of_late), (&hot, &mut of_hot)] {
            held.extend(stand.take());
            stand.want(true);
        }
    }
    assert_eq!((of_hot.len(), of_mild.len(), of_late.len()), (2, 2, 2));
}

#[test]
fn a_partition_that_is_taken_away_leaves_nothing_behind() {
    let slots = Slots::new("bench", 3);
    let (gone, stays) = (slots.stand(), slots.stand());
    gone.want(true);
    let held = gone.take();
    gone.want(true);
    gone.want(true);
    drop(gone);
    assert_eq!(slots.lock().used, 1, "its run is still out, its unused grant is not");
    drop(held);
    assert_eq!(slots.lock().used, 0);
    assert_eq!(grab(&stays).len(), 3);
    stays.want(true);
    stays.want(false);
    assert_eq!(slots.lock().used, 0, "an unwanted grant is given back");
}

#[test]
fn a_conflict_halves_the_open_slots_once_for_all_runs_that_are_out() {
    let slots = Slots::new("bench", 16);
    let stand = slots.stand();
    let held = grab(&stand);
    assert!(slots.note_conflict(), "fewer slots are a remedy");
    for _ in 0..16 {
        assert!(slots.note_conflict());
        assert_eq!(slots.lock().open, 8, "those were out when it was halved");
    }
    assert!(slots.note_conflict());
    assert_eq!(slots.lock().open, 4);
    drop(held);
    assert_eq!(grab(&stand).len(), 4);
}

#[test]
fn with_one_slot_left_shorter_runs_are_the_remedy() {
    let slots = Slots::new("bench", 2);
    assert!(slots.note_conflict());
    assert!(!slots.note_conflict());
    assert_eq!(slots.lock().open, 1, "one is always open");
    assert_eq!(grab(&slots.stand()).len(), 1);
}

#[test]
fn clean_stretches_open_the_slots_again_one_by_one() {
    let slots = Slots::new("bench", 4);
    slots.note_conflict();
    slots.note_conflict();
    let stretch = |open: usize| (0..open * CLEAN_RUNS_PER_SLOT).for_each(|_| slots.note_clean());
    (0..CLEAN_RUNS_PER_SLOT - 1).for_each(|_| slots.note_clean());
    assert_eq!(slots.lock().open, 1);
    slots.note_conflict();
    (0..CLEAN_RUNS_PER_SLOT - 1).for_each(|_| slots.note_clean());
    assert_eq!(slots.lock().open, 1, "a conflict begins the stretch anew");
    slots.note_clean();
    assert_eq!(slots.lock().open, 2);
    stretch(2);
    stretch(3);
    assert_eq!(slots.lock().open, 4);
    stretch(100);
    assert_eq!(slots.lock().open, 4, "no more than there are");
}

#[test]
fn an_opened_slot_goes_to_one_who_waits() {
    let slots = Slots::new("bench", 2);
    slots.note_conflict();
    let stand = slots.stand();
    let held = grab(&stand);
    assert_eq!(held.len(), 1);
    stand.want(true);
    assert!(stand.take().is_none());
    (0..CLEAN_RUNS_PER_SLOT).for_each(|_| slots.note_clean());
    assert!(stand.take().is_some());
}
