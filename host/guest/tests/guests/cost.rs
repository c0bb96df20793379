//! What a call costs: a measurement, run by hand with
//! `cargo test -p keylane-guest --test guests -- --ignored --nocapture cost`.

use std::time::Instant;

use keylane_engine::{Outcome, RunControl, Runner as _};

use crate::fake_publisher::Acks;
use crate::stage::{Stage, attempt, attempts};

/// Time that this thread has spent on a processor, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "current_thread")]
#[ignore = "a measurement, not a check"]
async fn cost_of_a_call_that_does_nothing() {
    const RUNS: u64 = 2_000;
    let loaded = Stage::of("noop").load().await;
    let value = "v".repeat(200);
    for length in [1, 10, 100] {
        let run = attempts(&vec![value.as_str(); length]);
        let mut samples = Vec::new();
        for _ in 0..7 {
            let before = thread_cpu_ns();
            for _ in 0..RUNS {
                assert_eq!(
                    loaded.runner.run(run.clone(), RunControl::unlimited()).await.outcomes[0],
                    Outcome::Done
                );
            }
            samples.push((thread_cpu_ns() - before) / (RUNS * u64::try_from(length).unwrap()));
        }
        samples.sort_unstable();
        println!("run of {length}: {} ns of CPU time per event (200-byte value)", samples[3]);
    }
    println!("{:?}", loaded.revision.instances());
}

/// Two inserts and an outgoing record for each event, one run after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn cost_of_an_event_in_a_transaction() {
    const EVENTS: u64 = 2_000;
    const TABLES: &str = "CREATE TABLE t (a BIGINT); CREATE TABLE u (a BIGINT);";
    let server = keylane_test_support::postgres("the cost of a transaction on PostgreSQL").unwrap();
    let address = server.as_ref().map(|server| server.database().unwrap());
    for address in [None, address] {
        let migrations = tempfile::tempdir().unwrap();
        std::fs::write(migrations.path().join("1_tables.sql"), TABLES).unwrap();
        let mut stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
        stage.address = address.clone();
        let loaded = stage.with_producer(Acks::AtOnce).load().await;
        let mut next = 0;
        for length in [1, 10, 100] {
            let begun = Instant::now();
            for _ in 0..EVENTS / length {
                let value = "do INSERT INTO t VALUES (1)\ndo INSERT INTO u VALUES (2)\nsend x";
                let run = (next..next + length).map(|offset| attempt(offset, offset, value)).collect();
                assert!(loaded.run(run).await.iter().all(|outcome| *outcome == Outcome::Done));
                next += length;
            }
            let name = if address.is_none() { "SQLite" } else { "PostgreSQL" };
            println!(
                "{name}, runs of {length}: {:.0} events/s",
                EVENTS as f64 / begun.elapsed().as_secs_f64()
            );
        }
    }
}
