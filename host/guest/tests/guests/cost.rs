//! What a call costs: a measurement, run by hand with
//! `cargo test -p keylane-guest --test guests -- --ignored --nocapture cost`.

use keylane_engine::{Outcome, RunControl, Runner as _};

use crate::stage::{Stage, attempts};

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
