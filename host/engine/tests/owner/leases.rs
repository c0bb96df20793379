//! Proof of life: who was stopped for longer than a session begins nothing when it goes on.

use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{HandlerOptions, Inbox, Ownership, Policy};

use crate::bench::{Bench, a_while, deliver, event, options};

const TERM: Duration = Duration::from_secs(45);

#[tokio::test(start_paused = true)]
async fn a_zombie_that_wakes_late_starts_nothing() {
    let bench = Bench::with_term(HandlerOptions { slots: 1, ..options() }, TERM);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait"), event(1, "b", "done"), event(2, "c", "done")]);
    bench.until("a run", || bench.running() == 1).await;
    bench.clock.sleep(TERM);
    bench.runner.gate.add_permits(1);
    bench.until("expired", || inbox.ownership() == Ownership::Expired).await;
    a_while().await;
    assert_eq!(bench.seen(), [(0, 1)], "the ready keys were not begun");
    assert_eq!(inbox.progress().offset, 0, "nothing more is said of its progress");
    assert!(!inbox.has_room(), "it takes nothing more");
    bench.lease.renew(bench.lease.now());
    a_while().await;
    assert_eq!(
        (inbox.ownership(), bench.seen().len()),
        (Ownership::Expired, 1),
        "a late proof revives nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn a_zombie_begins_no_further_event_of_its_run() {
    let policy = Policy { slice_ms: 600_000, ..options().policy };
    let bench = Bench::with_term(HandlerOptions { slots: 1, policy, ..options() }, TERM);
    let inbox = bench.assign(0);
    deliver(&inbox, (0..5).map(|offset| event(offset, "one", "wait")));
    bench.until("a run", || bench.running() == 1).await;
    bench.runner.gate.add_permits(1);
    bench.until("its second event", || bench.seen().len() == 2).await;
    bench.clock.sleep(TERM);
    bench.runner.gate.add_permits(5);
    bench.until("expired", || inbox.ownership() == Ownership::Expired).await;
    bench.until("reaped", || bench.running() == 0).await;
    assert_eq!(bench.seen().len(), 2);
}

/// A host whose letter was refused before it slept for a whole lease, and is due again as it wakes.
async fn asleep_over_a_refused_letter() -> (Bench, Inbox) {
    let bench = Bench::with_term(options(), TERM);
    bench.letters.refuse.store(1, Ordering::SeqCst);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "reject")]);
    bench.until("first refusal", || bench.letters.refuse.load(Ordering::SeqCst) == 0).await;
    bench.clock.sleep(TERM);
    (bench, inbox)
}

/// Its letter is due again as it wakes.
#[tokio::test(start_paused = true)]
async fn a_zombie_buries_nothing() {
    let (bench, inbox) = asleep_over_a_refused_letter().await;
    bench.until("expired", || inbox.ownership() == Ownership::Expired).await;
    a_while().await;
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 0, "another host may have buried it by now");
}

/// An answer to a commit that came late proves that the host was a member all the time.
#[tokio::test(start_paused = true)]
async fn a_letter_that_found_no_proof_of_life_is_sent_when_there_is_one() {
    let (bench, inbox) = asleep_over_a_refused_letter().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 0);
    bench.lease.renew(bench.lease.now());
    bench.until_watermark(&inbox, 1).await;
    assert_eq!(bench.letters.kept.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_renewed_keeps_the_partition_running() {
    let bench = Bench::with_term(options(), TERM);
    let inbox = bench.assign(0);
    for offset in 0..20 {
        tokio::time::sleep(TERM / 3).await;
        bench.lease.renew(bench.lease.now());
        deliver(&inbox, [event(offset, "one", "done")]);
        bench.until_watermark(&inbox, offset + 1).await;
        assert_eq!(inbox.ownership(), Ownership::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_runs_out_breaks_off_what_runs() {
    let bench = Bench::with_term(options(), TERM);
    let inbox = bench.assign(0);
    deliver(&inbox, [event(0, "a", "wait")]);
    bench.until("a run", || bench.running() == 1).await;
    tokio::time::sleep(TERM - Duration::from_secs(1)).await;
    assert_eq!((inbox.ownership(), bench.running()), (Ownership::Running, 1));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((inbox.ownership(), bench.running()), (Ownership::Expired, 0), "nobody had to ask");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_never_proven_starts_nothing() {
    let bench = Bench::with_term(options(), Duration::ZERO);
    let inbox = bench.assign(0);
    bench.until("expired", || inbox.ownership() == Ownership::Expired).await;
    assert!(!inbox.has_room());
}
