//! Runs whose transactions are in each other's way: fewer at once first, then shorter ones, and nobody pays.

use std::sync::atomic::Ordering;

use keylane_engine::HandlerOptions;

use crate::bench::{Bench, deliver, event, options};
use crate::database::Database;
use crate::shown::{of_partition, series, with_metrics};

fn bench(slots: usize, conflicts: usize) -> Bench {
    let bench = Bench::beside(HandlerOptions { slots, ..options() }, Database::new());
    bench.runner.conflicts.store(conflicts, Ordering::SeqCst);
    bench
}

fn lengths(bench: &Bench) -> Vec<usize> {
    bench.runner.runs.lock().unwrap().iter().map(|(events, ..)| *events).collect()
}

#[tokio::test(start_paused = true)]
async fn with_one_slot_runs_get_shorter_and_longer_again() {
    let bench = bench(1, 3);
    let inbox = bench.assign(0);
    deliver(&inbox, (0..100).map(|offset| event(offset, &offset.to_string(), "conflict")));
    bench.until_watermark(&inbox, 100).await;
    assert_eq!(lengths(&bench), [100, 50, 25, 12, 12, 12, 12, 12, 12, 12, 12, 4]);
    assert_eq!(bench.seen().len(), 100, "each was handled once");
    assert!(bench.seen().iter().all(|(_, number)| *number == 1), "and charged nothing");
    deliver(&inbox, (100..200).map(|offset| event(offset, &offset.to_string(), "done")));
    bench.until_watermark(&inbox, 200).await;
    assert_eq!(lengths(&bench)[12..], [24, 24, 24, 24, 4]);
}

#[test]
fn with_many_slots_fewer_are_open_first_and_all_again_later() {
    with_metrics(|shown| async move {
        let bench = bench(8, 2);
        let open = || series(&shown, "keylane_slots_open{handler=\"bench\"}").unwrap();
        let inbox = bench.assign(0);
        assert_eq!(open(), 8.0);
        deliver(&inbox, [event(0, "a", "conflict")]);
        bench.until_watermark(&inbox, 1).await;
        assert_eq!(open(), 2.0, "halved twice");
        assert_eq!(of_partition(&shown, "keylane_run_conflicts_total"), Some(2.0));
        deliver(&inbox, (1..101).map(|offset| event(offset, &offset.to_string(), "slow")));
        bench.until("two runs", || bench.running() == 2).await;
        assert!(lengths(&bench).contains(&50), "runs are as long as ever: {:?}", lengths(&bench));
        let mut next = 101;
        while open() < 8.0 {
            assert!(next < 5_000, "never all again: {} are open", open());
            deliver(&inbox, [event(next, "a", "done")]);
            next += 1;
            bench.until_watermark(&inbox, next).await;
        }
    });
}
