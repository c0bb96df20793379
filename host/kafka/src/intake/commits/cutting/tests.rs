//! The polling thread's work on cuts, done by hand, so that the group goes on just where it would do harm.

mod ownership;
mod stage;

use std::sync::{Arc, Mutex};

use rdkafka::consumer::BaseConsumer;

use self::stage::{OUTPUTS, SOURCE, STEP, Stage, well};
use super::*;
use crate::cuts::Cutter;
use crate::intake::commits::closed::ClosedTopics;
use crate::intake::group::Change;
use crate::intake::poller::Failure;
use crate::intake::testing::PATIENCE;

/// The metadata comes first: the owners are asked, the group goes on, and what they tell then is sent as the member
/// that asked. The coordinator refuses that, whatever is still owned, and the next cut has it.
#[test]
fn a_cut_is_sent_as_the_member_that_it_was_begun_by() {
    let mut stage = Stage::new(false);
    stage.until("the owner is asked", |stage| {
        stage.commit();
        matches!(stage.cuts().step, Step::Asking(_))
    });
    let mut other = stage.client();
    let other: BaseConsumer =
        other.set("partition.assignment.strategy", "cooperative-sticky").create().unwrap();
    other.subscribe(&[SOURCE]).unwrap();
    stage.until("the group's next generation", |stage| {
        let _nothing_for_it = other.poll(Duration::ZERO);
        well(stage.poller.serve_client());
        !stage.poller.changes.is_empty()
    });
    assert_eq!(stage.poller.feeds.len(), 1);
    // Now the owner answers.
    stage.serve();
    stage.until("the cut is sent", |stage| {
        stage.commit();
        matches!(stage.cuts().step, Step::Sending(_))
    });
    stage.until("its end", |stage| {
        stage.commit();
        !matches!(stage.cuts().step, Step::Sending(_))
    });
    let trouble = stage.cuts().trouble.clone().unwrap_or_default();
    assert!(trouble.contains("generation"), "its end: {trouble:?}");
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// Of what is in doubt only the group's offsets tell. Were it cut once more because the group asks for the
/// partition just then, it could be there twice.
#[test]
fn of_a_partition_in_doubt_nothing_is_cut_when_it_is_given_up() {
    let mut stage = Stage::new(true);
    let (partition, token) = (stage.feed().partition.clone(), stage.feed().token);
    stage.cuts().set_back.insert(partition.clone(), "nobody knows".to_owned());
    stage.cuts().owed.insert(token);
    // Nor is the membership proven by what was known before.
    stage.poller.parts.commits.last_sent = None;
    stage.commit();
    assert!(stage.poller.parts.commits.sent.is_empty() && stage.cuts().is_resting());
    well(stage.poller.answer(Change::Revoked { partitions: vec![partition.clone()], lost: false }));
    assert!(stage.poller.feeds.is_empty() && stage.cuts().set_back.is_empty());
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    stage.poller.waiting.insert(partition);
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// A commit that nobody answered may be carried out yet. Were that behind a cut, it would set the group back.
#[test]
fn no_cut_overtakes_a_commit_that_went_astray() {
    let mut stage = Stage::new(true);
    let commits = &mut stage.poller.parts.commits;
    (commits.astray, commits.next_at) = (true, Instant::now() + PATIENCE);
    commits.last_sent = Some(commits.lease.now());
    for _ in 0..20 {
        stage.serve();
        stage.commit();
        assert!(stage.cuts().is_resting() && stage.feed().inbox.is_stirred());
    }
    stage.poller.parts.commits.next_at = Instant::now();
    stage.until_it_is_cut();
    assert!(!stage.poller.parts.commits.astray, "another one was acknowledged first");
    assert_eq!(stage.seen(), 1);
}

/// What has ended is not left behind for that when the partition is given up.
#[test]
fn before_a_last_cut_a_commit_that_went_astray_is_made_up_for() {
    let mut stage = Stage::new(true);
    let partition = stage.feed().partition.clone();
    let commits = &mut stage.poller.parts.commits;
    (commits.astray, commits.next_at) = (true, Instant::now() + PATIENCE);
    well(stage.poller.answer(Change::Revoked { partitions: vec![partition], lost: false }));
    assert_eq!((stage.committed(), stage.seen()), (1, 1));
}

/// With a record for a silent partition everybody may wait: none is sent before it is time to try again.
#[test]
fn nothing_is_sent_to_a_silent_topic_before_its_time() {
    let mut stage = Stage::new(true);
    let (partition, now) = (stage.feed().partition.clone(), Instant::now());
    stage.cuts().closed.note_silence(OUTPUTS, "no leader", PATIENCE, now);
    stage.until("its partition waits", |stage| {
        stage.serve();
        stage.commit();
        stage.cuts().closed.keeps(&partition, now)
    });
    assert_eq!((stage.committed(), stage.seen()), (0, 0));
    // Its time has come.
    stage.cuts().closed = ClosedTopics::default();
    stage.until_it_is_cut();
    assert_eq!(stage.seen(), 1);
}

/// What has ended is cut when an interval has passed since the cut before: no sooner, and not much later.
#[test]
fn a_record_alone_is_cut_when_the_interval_is_over() {
    const INTERVAL: Duration = Duration::from_secs(3);
    const SOON: Duration = Duration::from_secs(10);
    let mut stage = Stage::of(1, true, INTERVAL);
    let mut begun = Vec::new();
    stage.until("both are cut", |stage| {
        stage.serve();
        stage.commit();
        let sent = if let Step::Sending(sending) = &stage.cuts().step { Some(sending.begun) } else { None };
        if let Some(sent) = sent.filter(|sent| begun.last() != Some(sent)) {
            begun.push(sent);
            // The next one ends right behind the first.
            stage.produce(0);
        }
        stage.committed() >= 2
    });
    let pause = begun[1] - begun[0];
    assert!(pause >= INTERVAL && pause < INTERVAL + SOON, "{pause:?}");
}

/// Behind cuts that failed, as brokers that are too slow make them, what has ended is cut in parts.
#[test]
fn behind_failures_less_is_cut_at_once() {
    let mut stage = Stage::of(2, true, STEP);
    (0..64).for_each(|_| stage.cuts().halve());
    let (before, mut parts) = (stage.cuts().halved, Vec::new());
    stage.until("all is cut", |stage| {
        stage.serve();
        stage.commit();
        if let Step::Sending(sending) = &stage.cuts().step {
            parts.push(sending.parts.len());
        }
        stage.committed() == 2
    });
    assert!(!parts.is_empty() && parts.iter().all(|parts| *parts == 1), "{parts:?}");
    assert_eq!(stage.seen(), 2);
    assert!(stage.cuts().halved < before, "it grows again");
}

/// Brokers that refuse one partition's part refuse the whole cut. The others go on without it.
#[test]
fn a_part_that_is_refused_again_and_again_holds_no_other_up() {
    let mut stage = Stage::of(3, true, STEP);
    let cuts = Arc::new(Mutex::new(Vec::new()));
    let noted = cuts.clone();
    stage.cuts().cutter = Cutter::played(move |cut| {
        let parts: Vec<i32> = cut.offsets.iter().map(|part| part.partition.partition).collect();
        let end = match parts.contains(&0) {
            true => CutEnd::Failed("not allowed to write there".to_owned()),
            false => CutEnd::Committed,
        };
        noted.lock().unwrap().push(parts);
        end
    });
    let with = |cuts: &[Vec<i32>], part| {
        cuts.iter().filter(|parts| !parts.contains(&0) && parts.contains(&part)).count()
    };
    let mut next = 1;
    stage.until("the others are cut again and again, and it is tried", |stage| {
        stage.serve();
        stage.commit();
        next = 3 - next;
        stage.produce(next);
        let cuts = cuts.lock().unwrap();
        with(&cuts, 1).min(with(&cuts, 2)) >= 5 && cuts.iter().filter(|parts| **parts == [0]).count() >= 3
    });
    let cuts = cuts.lock().unwrap();
    let together = cuts.iter().filter(|parts| parts.contains(&0) && parts.len() > 1).count();
    assert_eq!(together, usize::try_from(FAILURES_ORDINARY).unwrap(), "then it goes by itself: {cuts:?}");
    let trouble = stage.poller.parts.commits.cut_trouble().unwrap_or_default();
    assert!(trouble.contains("source[0] waits: not allowed"), "{trouble}");
}

/// A call of the client library that never returns: the partitions go to others, and whoever watches the process is
/// told that a new one is needed.
#[test]
fn a_transaction_that_hangs_gives_the_partitions_up() {
    let mut stage = Stage::new(true);
    let hanging = |took: Duration| Sending {
        begun: Instant::now().checked_sub(took).unwrap(),
        at: Duration::ZERO,
        bytes: 0,
        parts: Vec::new(),
    };
    let limit = stage.cuts().hangs_after;
    stage.cuts().step = Step::Sending(hanging(limit / 2));
    assert!(stage.poller.parts.commits.hanging_cut().is_none(), "slow is not hanging");
    stage.cuts().step = Step::Sending(hanging(limit + STEP));
    let shared = stage.poller.parts.shared.clone();
    std::thread::spawn(move || {
        std::thread::sleep(PATIENCE / 2);
        shared.ask_to_stop(Instant::now());
    });
    let Err(Failure::ForGood(reason)) = stage.poller.run() else { panic!("it goes on for ever") };
    assert!(reason.contains("hangs in the Kafka client"), "{reason}");
}
