//! The floor of a partition in the handler's database: it follows the watermark, never in a run's way, and
//! what lies above it is bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{
    ClaimsError, ClaimsStatus, Delivery, GapSet, HandlerOptions, Header, Inbox, InboxLimits, LogPosition,
    Ownership, Policy, Then,
};
use keylane_test_support::Log;

use crate::bench::{Bench, a_while, deliver, ended_above, event, options, status};
use crate::database::{Database, refused, unavailable, unknown};

const SECOND: Duration = Duration::from_secs(1);
/// As the engine has them.
const PRUNE_EVERY: Duration = Duration::from_secs(5);
const CONFIRM_EVERY: Duration = Duration::from_secs(30);
const LAST_PRUNE_MAX: Duration = Duration::from_secs(2);
const CLAIMS_MAX: i64 = 100_000;

fn bench() -> (Bench, Arc<Database>) {
    let database = Database::new();
    let inbox = InboxLimits { records: 1_000_000, bytes: usize::MAX };
    let policy = Policy { gap_max: 1_000_000, backoff_ms: 60_000, ..options().policy };
    (Bench::beside(HandlerOptions { inbox, policy, ..options() }, database.clone()), database)
}

async fn claims(inbox: &Inbox) -> (i64, usize) {
    let ClaimsStatus { floor, above_floor } = status(inbox).await.claims.unwrap();
    (floor, above_floor)
}

fn handled(inbox: &Inbox, offsets: std::ops::Range<i64>) {
    deliver(inbox, offsets.map(|offset| event(offset, &offset.to_string(), "done")));
}

#[tokio::test(start_paused = true)]
async fn the_floor_follows_the_watermark_every_few_seconds() {
    let (bench, database) = bench();
    let inbox = bench.assign(0);
    deliver(
        &inbox,
        [event(0, "a", "done"), event(1, "b", "done"), event(2, "slow", "wait"), event(3, "c", "done")],
    );
    bench.until_watermark(&inbox, 2).await;
    a_while().await;
    assert_eq!((database.floors(), claims(&inbox).await), (vec![], (0, 3)), "not at once");
    tokio::time::sleep(PRUNE_EVERY).await;
    assert_eq!(database.floors(), [(2, 1)], "never past what runs");
    assert_eq!(claims(&inbox).await, (2, 1), "3 has ended above it");
    tokio::time::sleep(4 * PRUNE_EVERY).await;
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 1, "nothing to do");
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 4).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(
        (database.floors(), claims(&inbox).await),
        (vec![(2, 1), (4, 1)], (4, 0)),
        "it rested long enough"
    );
}

#[tokio::test(start_paused = true)]
async fn it_follows_where_the_handler_wanted_nothing() {
    let (bench, database) = bench();
    let inbox = bench.assign(0);
    let header = Header { name: "ce_type".to_owned(), value: Some("other".into()) };
    let unwanted =
        |offset| keylane_engine::Event { headers: vec![header.clone()], ..event(offset, "a", "done") };
    deliver(&inbox, (0..10).map(unwanted));
    inbox.deliver(Delivery { events: Vec::new(), next: 17 }).unwrap();
    bench.until_watermark(&inbox, 17).await;
    assert_eq!(claims(&inbox).await, (0, 0), "what is filtered has no claim");
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    assert_eq!(database.floors(), [(17, 1)]);
    assert!(bench.seen().is_empty());
    deliver(&inbox, [event(17, "slow", "wait")]);
    deliver(&inbox, (18..30).map(unwanted));
    deliver(&inbox, [event(30, "b", "done")]);
    a_while().await;
    assert_eq!(claims(&inbox).await, (17, 1));
}

/// By it whoever takes the partition later sees whether the log was cut.
#[tokio::test(start_paused = true)]
async fn the_place_with_its_leader_goes_with_the_floor() {
    let (bench, database) = bench();
    let inbox = bench.assign(0);
    handled(&inbox, 0..3);
    bench.until_watermark(&inbox, 3).await;
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    for (offset, leader_epoch) in [(3, 4), (4, 4), (5, 6), (6, 6)] {
        inbox.leader_epochs().note(offset, Some(leader_epoch));
    }
    deliver(&inbox, (3..5).map(|offset| event(offset, "a", "done")));
    deliver(&inbox, [event(5, "slow", "wait"), event(6, "b", "done")]);
    bench.until_watermark(&inbox, 5).await;
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    assert_eq!(database.floors(), [(3, 1), (5, 1)]);
    let place = LogPosition { offset: 5, leader_epoch: 4 };
    assert_eq!(*database.positions.lock().unwrap(), [None, Some(place)], "what is read above is not in it");
}

/// The watermark passes what had ended before without reading it. A place far below the floor would say that
/// there is no record between them, and the next owner would take those that are there for a log that was cut.
#[tokio::test(start_paused = true)]
async fn what_is_not_read_yet_has_no_place() {
    let (bench, database) = bench();
    let inbox = bench.assign_at(0, GapSet { base: 0, ended: std::iter::once(1..30_000).collect() });
    inbox.leader_epochs().note(0, Some(4));
    deliver(&inbox, [event(0, "a", "done")]);
    bench.until_watermark(&inbox, 30_000).await;
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    assert_eq!(database.floors(), [(30_000, 1)]);
    inbox.leader_epochs().note(29_998, Some(4));
    inbox.leader_epochs().reach(30_000);
    inbox.leader_epochs().note(30_000, Some(4));
    deliver(&inbox, [event(30_000, "a", "done")]);
    bench.until_watermark(&inbox, 30_001).await;
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    let place = LogPosition { offset: 30_001, leader_epoch: 4 };
    assert_eq!(*database.positions.lock().unwrap(), [None, Some(place)]);
}

#[tokio::test(start_paused = true)]
async fn a_prune_goes_on_batch_after_batch_and_alone() {
    let (bench, database) = bench();
    database.batches_more.store(3, Ordering::SeqCst);
    let inbox = bench.assign(0);
    handled(&inbox, 0..5);
    tokio::time::sleep(PRUNE_EVERY + SECOND).await;
    assert_eq!(database.floors(), [(5, 4)]);
    database.hang(true);
    handled(&inbox, 5..9);
    bench.until_watermark(&inbox, 9).await;
    tokio::time::sleep(20 * PRUNE_EVERY).await;
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 5, "one that takes long is not overtaken");
    handled(&inbox, 9..12);
    bench.until_watermark(&inbox, 12).await;
    assert_eq!(claims(&inbox).await, (5, 7), "and no run waits for it");
    database.hang(false);
    a_while().await;
    assert_eq!(claims(&inbox).await, (9, 3), "what ended meanwhile is above the new floor");
}

#[tokio::test(start_paused = true)]
async fn many_claims_are_pruned_at_once() {
    let (bench, database) = bench();
    let inbox = bench.assign(0);
    handled(&inbox, 0..10_000);
    bench.until_watermark(&inbox, 10_000).await;
    assert_eq!(database.floors(), []);
    handled(&inbox, 10_000..21_000);
    bench.until_watermark(&inbox, 21_000).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(database.floors().len(), 1, "{:?}", claims(&inbox).await);
}

#[tokio::test(start_paused = true)]
async fn a_floor_that_is_not_raised_is_raised_later() {
    let (bench, database) = bench();
    database.prune_faults.set([unavailable(), unavailable(), refused()]);
    let inbox = bench.assign(0);
    handled(&inbox, 0..30_000);
    bench.until_watermark(&inbox, 30_000).await;
    for _ in 0..3 {
        assert_eq!((inbox.ownership(), database.floors()), (Ownership::Running, vec![]));
        tokio::time::sleep(PRUNE_EVERY).await;
    }
    a_while().await;
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 4, "no sooner for being many");
    assert_eq!((database.floors(), claims(&inbox).await), (vec![(30_000, 1)], (30_000, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_prune_that_was_overtaken_or_lost_its_database_gives_the_partition_up() {
    for fault in [ClaimsError::NotOwner, unknown()] {
        let (bench, database) = bench();
        database.prune_faults.set([fault]);
        let inbox = bench.assign(0);
        handled(&inbox, 0..3);
        bench.until("given up", || matches!(inbox.ownership(), Ownership::Overtaken { .. })).await;
        assert_eq!(database.floors(), []);
    }
}

/// It would never learn that its database was replaced by an older copy, which took events back.
#[tokio::test(start_paused = true)]
async fn an_owner_to_whom_nothing_comes_asks_for_its_floor_all_the_same() {
    let (bench, database) = bench();
    let inbox = bench.assign_at(0, GapSet::at(7));
    tokio::time::sleep(3 * CONFIRM_EVERY + SECOND).await;
    assert_eq!(database.floors(), [(7, 1), (7, 1), (7, 1)], "where it stands");
    database.prune_faults.set([unavailable(), ClaimsError::NotOwner]);
    tokio::time::sleep(CONFIRM_EVERY).await;
    assert_eq!(inbox.ownership(), Ownership::Running, "a database that is away takes nothing back");
    bench.until("given up", || matches!(inbox.ownership(), Ownership::Overtaken { .. })).await;
}

/// Whoever takes the partition next has little to read.
#[tokio::test(start_paused = true)]
async fn a_drain_raises_the_floor_before_it_ends() {
    let (bench, database) = bench();
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "retry"), event(2, "c", "done")]);
    a_while().await;
    inbox.drain();
    bench.until("draining", || inbox.ownership() == Ownership::Draining).await;
    assert_eq!(database.floors(), [], "something runs");
    database.hang(true);
    bench.runner.gate.add_permits(1);
    bench.until("the last prune", || database.prunes_asked.load(Ordering::SeqCst) == 1).await;
    assert_eq!(inbox.ownership(), Ownership::Draining);
    database.hang(false);
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!(
        (database.floors(), inbox.progress().offset),
        (vec![(1, 1)], 1),
        "1 waits for its next attempt"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_its_last_prune_no_longer_than_a_moment() {
    let (bench, database) = bench();
    database.hang(true);
    let inbox = bench.assign(0);
    handled(&inbox, 0..3);
    bench.until_watermark(&inbox, 3).await;
    inbox.drain();
    tokio::time::sleep(LAST_PRUNE_MAX - Duration::from_millis(100)).await;
    assert_eq!(inbox.ownership(), Ownership::Draining);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(inbox.ownership(), Ownership::Drained);
    tokio::time::sleep(20 * PRUNE_EVERY).await;
    assert_eq!(inbox.ownership(), Ownership::Drained);
    let parting = inbox.part();
    bench.until("gone, and the prune with it", || parting.is_gone()).await;
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_does_not_wait_for_a_database_that_does_not_answer() {
    let (bench, database) = bench();
    database.prune_faults.set([unavailable(), unavailable()]);
    let inbox = bench.assign(0);
    handled(&inbox, 0..3);
    bench.until_watermark(&inbox, 3).await;
    inbox.drain();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(inbox.ownership(), Ownership::Drained);
    tokio::time::sleep(10 * PRUNE_EVERY).await;
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 1, "a drained partition prunes no more");
}

/// An owner that turned around meanwhile, over and over, would keep virtual time from passing and this test
/// from ending.
#[tokio::test(start_paused = true)]
async fn a_drain_that_is_asked_for_a_skip_meanwhile_waits_for_that() {
    let (database, policy) = (Database::new(), Policy { then: Then::PauseLane, ..options().policy });
    let bench = Bench::beside(HandlerOptions { policy, ..options() }, database.clone());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done"), event(1, "b", "reject")]);
    bench.until_watermark(&inbox, 1).await;
    database.hang(true);
    inbox.drain();
    bench.until("the last prune", || database.prunes_asked.load(Ordering::SeqCst) == 1).await;
    let control = inbox.control();
    let asked = tokio::spawn(async move { control.skip(1).await });
    tokio::time::sleep(10 * LAST_PRUNE_MAX).await;
    assert_eq!(inbox.ownership(), Ownership::Draining);
    database.hang(false);
    asked.await.unwrap().unwrap();
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!(inbox.progress().offset, 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_drain_asks_the_database_nothing() {
    let (bench, database) = bench();
    let inbox = bench.assign_at(0, ended_above(3, 5..9));
    inbox.drain();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(inbox.ownership(), Ownership::Drained);
    assert_eq!(database.prunes_asked.load(Ordering::SeqCst), 0);
}

/// A key that waits for an operator, and 100,000 events of others that have ended behind it.
#[tokio::test(start_paused = true)]
async fn too_many_claims_above_the_floor_keep_new_records_out() {
    let (log, _keeping) = Log::keep(tracing::Level::ERROR);
    let (bench, database) = bench();
    let inbox = bench.assign_at(0, ended_above(0, 1..CLAIMS_MAX + 1));
    assert_eq!(claims(&inbox).await, (0, CLAIMS_MAX as usize));
    deliver(&inbox, [event(0, "culprit", "wait")]);
    inbox.deliver(Delivery { events: Vec::new(), next: CLAIMS_MAX + 1 }).unwrap();
    bench.until("what is not new is taken in", || bench.running() == 1).await;
    handled(&inbox, CLAIMS_MAX + 1..CLAIMS_MAX + 4);
    a_while().await;
    assert_eq!(bench.seen().len(), 1, "what is new is not");
    let told = status(&inbox).await;
    assert!(!told.admits && told.why_not.as_deref().unwrap().contains("100000 claims"), "{told:?}");
    let said = log.lines("takes in nothing more");
    assert!(said.len() == 1 && said[0].contains("culprit"), "{said:?}");
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, CLAIMS_MAX + 4).await;
    assert_eq!(database.floors(), [(CLAIMS_MAX + 1, 1)], "pruned at once, or nothing would go on");
}

/// Then no key is to blame, and nobody is told that one is.
#[tokio::test(start_paused = true)]
async fn claims_that_are_not_pruned_keep_new_records_out_as_well() {
    let (log, _keeping) = Log::keep(tracing::Level::ERROR);
    let (bench, database) = bench();
    database.hang(true);
    let inbox = bench.assign(0);
    handled(&inbox, 0..CLAIMS_MAX);
    bench.until_watermark(&inbox, CLAIMS_MAX).await;
    handled(&inbox, CLAIMS_MAX..CLAIMS_MAX + 5);
    a_while().await;
    assert_eq!((inbox.progress().offset, status(&inbox).await.admits), (CLAIMS_MAX, false));
    assert_eq!(log.lines("takes in nothing more").len(), 0);
    database.hang(false);
    bench.until_watermark(&inbox, CLAIMS_MAX + 5).await;
}
