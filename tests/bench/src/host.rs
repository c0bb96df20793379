//! keylane with a component that does nothing, as a process of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::deployment::{Deployment, Part};
use keylane_e2e::host::{self, Process};
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::usage::{self, Usage};
use keylane_test_support::waiting;

use crate::report::Measurement;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(900);
/// How long a host that has nothing to do is left alone before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// Time between two questions for what is committed. They cost the broker something, not the host.
const LOOK_EVERY: Duration = Duration::from_millis(200);

const NOOP: [Part; 1] = [Part { folder: "tests/bench/noop" }];

fn ready(broker: &str, fleet: &str) -> Result<(Deployment, Process)> {
    let deployment = Deployment::new(broker, fleet, &NOOP)?;
    let host = host::start(&deployment, "host.log")?;
    waiting::until("the host is ready", LIMIT, || {
        ensure!(usage::usage(host.id()).is_ok(), "the host ended; {}", host.last_words());
        Ok(host::ask(&deployment, "/readyz").ok().filter(|(code, _)| *code == 200))
    })?;
    Ok((deployment, host))
}

/// A host on a topic that is empty.
///
/// # Errors
/// When it does not get ready.
pub(crate) fn at_rest(broker: &str) -> Result<Usage> {
    let (_deployment, mut host) = ready(broker, "rest")?;
    std::thread::sleep(REST);
    let usage = usage::usage(host.id())?;
    end(&mut host)?;
    Ok(usage)
}

/// A host that handles all records: until all of them are committed.
///
/// # Errors
/// When it does not get there, or its own count says otherwise.
pub(crate) fn measure(broker: &str, records: u64, round: u32) -> Result<Measurement> {
    let (deployment, mut host) = ready(broker, &format!("round-{round}"))?;
    let began = Instant::now();
    let mut onlooker = Onlooker::new(broker);
    let subscriptions = deployment.subscriptions();
    waiting::until("all records are committed", LIMIT, || {
        std::thread::sleep(LOOK_EVERY);
        let positions = onlooker.positions(&subscriptions)?;
        let committed: i64 = positions.iter().filter_map(|position| position.committed).sum();
        Ok((u64::try_from(committed)? >= records).then_some(()))
    })
    .with_context(|| host.last_words())?;
    let (wall_s, usage) = (began.elapsed().as_secs_f64(), usage::usage(host.id())?);
    let done = done(&host::ask(&deployment, "/metrics")?.1);
    ensure!(done == records, "the host says that {done} of {records} events are done");
    end(&mut host)?;
    Ok(Measurement { engine: "keylane", round, records, wall_s, usage })
}

/// Events that the host counts as done, over all partitions.
fn done(metrics: &str) -> u64 {
    let counts = metrics.lines().filter(|line| line.starts_with("keylane_events_done_total"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

fn end(host: &mut Process) -> Result<()> {
    host.terminate()?;
    let status = host.wait(LIMIT)?;
    ensure!(status.success(), "the host ended with {status}; {}", host.last_words());
    Ok(())
}
