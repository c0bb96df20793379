//! Endings that are not runs, where a handler has a write database: the event has ended when the database
//! says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{
    ControlError, GapSet, HandlerOptions, Inbox, Ownership, PAYLOAD_UNITS_HIGH, Policy, RestoredNote, Then,
    restore,
};

use crate::bench::{Bench, TOPIC, a_while, coin, deliver, ended_above, event, options, status};
use crate::database::{DATABASE, Database, FENCE, refused, unavailable, unknown};

fn bench(policy: Policy) -> (Bench, Arc<Database>) {
    let database = Database::new();
    (Bench::beside(HandlerOptions { policy, ..options() }, database.clone()), database)
}

/// So many endings of a partition are on their way to the database at once.
const AT_ONCE: usize = 8;

fn pausing() -> Policy {
    Policy { then: Then::PauseLane, attempts_max: 1, ..options().policy }
}

async fn until_paused(inbox: &Inbox) {
    while status(inbox).await.lanes.paused == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_is_given_the_fence_and_the_topics_id() {
    let (bench, _) = bench(options().policy);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "done")]);
    bench.until_watermark(&inbox, 1).await;
    assert_eq!(*bench.runner.runs.lock().unwrap(), [(1, Some(FENCE), TOPIC)]);
}

#[tokio::test]
#[should_panic(expected = "a fence is of the handler's database")]
async fn a_handler_with_a_database_owns_nothing_without_a_fence() {
    let (mut bench, _) = bench(options().policy);
    bench.database = None;
    bench.assign(0);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_goes_to_the_database_and_ends_its_event_when_that_has_it() {
    let (bench, database) = bench(options().policy);
    database.hang(true);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject"), event(1, "bad", "done"), event(2, "good", "done")]);
    bench.until("the claim is asked for", || database.claims_asked.load(Ordering::SeqCst) == 1).await;
    a_while().await;
    assert_eq!(inbox.progress().offset, 0, "nobody knows yet");
    assert_eq!(bench.seen(), [(0, 1), (2, 1)], "its key waits");
    database.hang(false);
    bench.until_watermark(&inbox, 3).await;
    assert_eq!(database.claimed(), [(0, "dead-lettered")]);
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 0, "nothing goes to the broker past the outbox");
    assert_eq!(bench.engine.tally().totals().dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_the_database_refuses_is_tried_again() {
    let (bench, database) = bench(options().policy);
    database.claim_faults.set([refused(), refused()]);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "reject")]);
    bench.until_watermark(&inbox, 1).await;
    assert_eq!(database.claims_asked.load(Ordering::SeqCst), 3);
    assert_eq!(inbox.ownership(), Ownership::Running);
}

/// Each is a transaction, and the last of a thousand that wait for the same database would have waited too long.
#[tokio::test(start_paused = true)]
async fn a_burst_of_endings_goes_to_the_database_a_few_at_once() {
    let (bench, database) = bench(options().policy);
    database.hang(true);
    let inbox = bench.assign(0);
    deliver(&inbox, (0..200).map(|offset| event(offset, &offset.to_string(), "reject")));
    bench.until("all have failed", || bench.seen().len() == 200).await;
    a_while().await;
    assert_eq!(database.claims_asked.load(Ordering::SeqCst), AT_ONCE);
    database.hang(false);
    bench.until_watermark(&inbox, 200).await;
    assert_eq!(database.claimed().len(), 200, "each once");
}

/// What the database refuses again and again keeps no other ending from it meanwhile.
#[tokio::test(start_paused = true)]
async fn refused_endings_keep_nobody_from_the_database() {
    let (bench, database) = bench(options().policy);
    database.claim_faults.set(vec![refused(); AT_ONCE]);
    let inbox = bench.assign(0);
    let rejected = |offset: i64| event(offset, &offset.to_string(), "reject");
    deliver(&inbox, (0..8).map(rejected));
    bench.until("refused", || database.claims_asked.load(Ordering::SeqCst) == AT_ONCE).await;
    deliver(&inbox, (8..50).map(rejected));
    bench.until_watermark(&inbox, 50).await;
    let order: Vec<i64> = database.claimed().into_iter().map(|(offset, _)| offset).collect();
    let (others, refused) = order.split_at(50 - AT_ONCE);
    assert!(others.iter().min() > refused.iter().max(), "the refused were waited for: {order:?}");
}

/// A drain waits for endings that wait for others too.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_whole_burst() {
    let (bench, database) = bench(options().policy);
    database.hang(true);
    let inbox = bench.assign(0);
    deliver(&inbox, (0..50).map(|offset| event(offset, &offset.to_string(), "reject")));
    bench.until("all have failed", || bench.seen().len() == 50).await;
    inbox.drain();
    a_while().await;
    assert_eq!(inbox.ownership(), Ownership::Draining);
    database.hang(false);
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!((inbox.progress().offset, database.claimed().len()), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn an_ending_that_is_not_known_to_be_written_gives_the_partition_up() {
    for fault in [keylane_engine::ClaimsError::NotOwner, unknown(), unavailable()] {
        let (bench, database) = bench(options().policy);
        database.claim_faults.set([fault.clone()]);
        let inbox = bench.assign(0);
        deliver(&inbox, [event(0, "bad", "reject")]);
        bench.until("given up", || inbox.ownership().is_final()).await;
        let Ownership::Overtaken { reason } = inbox.ownership() else { panic!("{:?}", inbox.ownership()) };
        assert!(reason.contains(&fault.to_string()), "{reason}");
        a_while().await;
        assert_eq!((inbox.progress().offset, database.claimed()), (0, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_skip_is_claimed_before_it_is_granted() {
    let (bench, database) = bench(pausing());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry"), event(1, "bad", "done")]);
    until_paused(&inbox).await;
    database.hang(true);
    let control = inbox.control();
    let asked = tokio::spawn(async move { control.skip(0).await });
    bench.until("the claim is asked for", || database.claims_asked.load(Ordering::SeqCst) == 1).await;
    let told = status(&inbox).await;
    assert_eq!((told.lanes.skipping, told.lanes.paused), (1, 0));
    assert_eq!((told.waiting[0].state.as_str(), told.waiting[0].queued), ("skipping", 2));
    let twice = inbox.control().skip(0).await;
    assert_eq!(twice, Err(ControlError::NotWaiting { offset: 0 }), "it is given up already");
    a_while().await;
    assert!(!asked.is_finished() && inbox.progress().offset == 0, "not before it is written");
    database.hang(false);
    asked.await.unwrap().unwrap();
    bench.until_watermark(&inbox, 2).await;
    assert_eq!(database.claimed(), [(0, "skipped")]);
    assert_eq!(bench.seen(), [(0, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_skip_that_is_not_claimed_is_not_granted() {
    let (bench, database) = bench(pausing());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry"), event(1, "bad", "done")]);
    until_paused(&inbox).await;
    database.claim_faults.set([unavailable()]);
    assert_eq!(inbox.control().skip(0).await, Err(ControlError::Gone));
    assert!(matches!(inbox.ownership(), Ownership::Overtaken { .. }));
    assert_eq!((inbox.progress().offset, bench.engine.tally().totals().skipped), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_what_an_operator_gave_up() {
    let (bench, database) = bench(pausing());
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "bad", "retry")]);
    until_paused(&inbox).await;
    database.hang(true);
    let control = inbox.control();
    let asked = tokio::spawn(async move { control.skip(0).await });
    bench.until("the claim is asked for", || database.claims_asked.load(Ordering::SeqCst) == 1).await;
    inbox.drain();
    a_while().await;
    assert_eq!(inbox.ownership(), Ownership::Draining);
    database.hang(false);
    asked.await.unwrap().unwrap();
    bench.until("drained", || inbox.ownership() == Ownership::Drained).await;
    assert_eq!((inbox.progress().offset, database.claimed()), (1, vec![(0, "skipped")]));
}

#[tokio::test(start_paused = true)]
async fn a_commit_beside_a_database_names_that_and_no_gap() {
    let (bench, _) = bench(options().policy);
    let restored = ended_above(4, 6..9);
    let inbox = bench.assign_at(0, restored);
    let told = |offset: i64| {
        let progress = inbox.progress();
        assert_eq!((progress.offset, progress.truncated), (offset, false));
        let read = restore(progress.offset, progress.payload.as_bytes(), TOPIC);
        assert_eq!(read.note, RestoredNote::OfDatabase(DATABASE.into()));
        assert_eq!(read.gap, GapSet::at(offset), "what has ended above it stands in the database");
    };
    told(4);
    deliver(&inbox, [event(4, "slow", "wait"), event(5, "fast", "done"), event(9, "fast", "done")]);
    a_while().await;
    told(4);
    bench.runner.gate.add_permits(1);
    bench.until_watermark(&inbox, 10).await;
    told(10);
}

/// The same backlog fills the commit of a handler without a database.
#[tokio::test(start_paused = true)]
async fn the_length_of_a_commit_keeps_nothing_out() {
    let database = Database::new();
    let limits = keylane_engine::InboxLimits { records: 100_000, bytes: usize::MAX };
    let policy = Policy { backoff_ms: 60_000, backoff_max_ms: 60_000, flood: None, ..Policy::default() };
    let bench = Bench::beside(HandlerOptions { policy, inbox: limits, ..options() }, database);
    let inbox = bench.assign(0);
    let value = |offset| if offset == 0 || coin(offset) { "retry-once" } else { "done" };
    for first in (0..40_000).step_by(500) {
        deliver(&inbox, (first..first + 500).map(|offset| event(offset, &offset.to_string(), value(offset))));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let told = status(&inbox).await;
    assert!(told.admits && told.next == 40_000 && told.gap_units < PAYLOAD_UNITS_HIGH, "{told:?}");
    bench.until_watermark(&inbox, 40_000).await;
}
