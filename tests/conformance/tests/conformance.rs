//! The suite on the development broker (in memory, and once with files) and on Apache Kafka.
//!
//! Without a JDK and Maven only the development broker runs, against the same literal
//! expectations, and a line says so; in CI their absence is a failure.

use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use keylane_conformance::{Check, Needs, Observed, Target, has_kcat, suite};
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_test_support::{ApacheKafka, Checks, apache_kafka};

/// Checks under way at once: most of them wait rather than compute.
const AT_ONCE: usize = 6;

/// A check that takes longer has failed. The slowest start a dozen JVMs on a machine that is busy.
const LONGEST_CHECK: Duration = Duration::from_secs(240);

/// The name of the second development broker in reports.
const ON_FILES: &str = "dev broker on files";

/// What the brokers of one check said, and how long it took.
struct Outcome {
    said: Vec<(&'static str, anyhow::Result<Observed>)>,
    took: Duration,
}

fn main() -> ExitCode {
    // RUST_LOG=keylane_devbroker=debug shows the broker's side.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_unset| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let mut checks = Checks::from_args();
    match run(&mut checks) {
        Ok(()) => {}
        // Not a check that a filter could leave out: without its brokers the suite has failed.
        Err(error) => checks.report("start_the_brokers", Duration::ZERO, Err(error)),
    }
    checks.finish()
}

fn run(checks: &mut Checks) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let folder = tempfile::tempdir()?;
    let memory = runtime.block_on(Broker::start(BrokerOptions::default()))?;
    let in_files = BrokerOptions { data: Some(folder.path().to_owned()), ..BrokerOptions::default() };
    let files = runtime.block_on(Broker::start(in_files))?;
    let kafka = apache_kafka("the comparison of the development broker with Apache Kafka")?;
    let mut targets = vec![("dev broker", memory.bootstrap()), (ON_FILES, files.bootstrap())];
    targets.extend(kafka.as_ref().map(|kafka| ("Apache Kafka", kafka.bootstrap())));
    let wanted: Vec<Check> = suite().into_iter().filter(|check| checks.wants(check.name)).collect();
    let with = |needs| wanted.iter().filter(|check| check.needs == needs).copied().collect::<Vec<_>>();
    judge(checks, &with(Needs::Nothing), &targets);
    if has_kcat() {
        judge(checks, &with(Needs::Kcat), &targets);
    } else {
        checks.say("LEFT OUT: what kcat does, because it is not installed");
    }
    if kafka.is_some() {
        // Each tool is a JVM of its own, and files or memory look the same to it.
        targets.retain(|(name, _)| *name != ON_FILES);
        judge(checks, &with(Needs::KafkaTools), &targets);
    }
    drop::<Option<ApacheKafka>>(kafka);
    runtime.block_on(async {
        memory.stop().await;
        files.stop().await;
    });
    Ok(())
}

/// Runs the checks, several at once, and reports them in order.
fn judge(checks: &mut Checks, suite: &[Check], targets: &[(&'static str, String)]) {
    let places = Arc::new(Places { free: Mutex::new(AT_ONCE), freed: Condvar::new() });
    let started: Vec<_> = suite
        .iter()
        .map(|check| {
            let (check, targets, places) = (*check, targets.to_vec(), Arc::clone(&places));
            (check, std::thread::spawn(move || places.hold(|| observe(&check, &targets))))
        })
        .collect();
    for (check, thread) in started {
        let outcome = thread.join();
        let (took, result) = match outcome {
            Ok(outcome) => (outcome.took, compare(&check, outcome.said)),
            Err(_panic) => (Duration::ZERO, Err(anyhow::anyhow!("it panicked; the message stands above"))),
        };
        checks.report(check.name, took, result);
    }
}

/// One check on all brokers at the same time. A broker that does not come to an end is given up:
/// its thread stays behind, blocked in a client, and goes with the process.
fn observe(check: &Check, targets: &[(&'static str, String)]) -> Outcome {
    let run = check.run;
    let started = Instant::now();
    let start = |(name, bootstrap): &(&'static str, String)| {
        let (tell, told) = mpsc::channel();
        let target = Target { bootstrap: bootstrap.clone() };
        std::thread::spawn(move || tell.send(run(&target)));
        (*name, told)
    };
    let under_way: Vec<_> = targets.iter().map(start).collect();
    let end = |(name, told): (&'static str, mpsc::Receiver<anyhow::Result<Observed>>)| {
        let left = LONGEST_CHECK.saturating_sub(started.elapsed());
        let observed = told.recv_timeout(left).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => Err(anyhow::anyhow!("not ended after {LONGEST_CHECK:?}")),
            RecvTimeoutError::Disconnected => Err(anyhow::anyhow!("it panicked; the message stands above")),
        });
        (name, observed)
    };
    let said = under_way.into_iter().map(end).collect();
    Outcome { said, took: started.elapsed() }
}

/// Every broker must have observed what is expected, and so the same.
fn compare(check: &Check, said: Vec<(&'static str, anyhow::Result<Observed>)>) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    for (broker, observed) in said {
        match observed {
            Ok(observed) if observed == check.expected => {}
            Ok(observed) => {
                wrong.push(format!("{broker} differs:\n{}", difference(check.expected, &observed)))
            }
            Err(error) => wrong.push(format!("{broker} failed: {error:#}")),
        }
    }
    if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
}

fn difference(expected: &[&str], observed: &[String]) -> String {
    let lines = expected.len().max(observed.len());
    let line = |i: usize| {
        let (wanted, seen) = (expected.get(i).copied(), observed.get(i).map(String::as_str));
        if wanted == seen {
            return format!("      {}", seen.unwrap_or_default());
        }
        format!("    - {}\n    + {}", wanted.unwrap_or("(nothing)"), seen.unwrap_or("(nothing)"))
    };
    (0..lines).map(line).collect::<Vec<_>>().join("\n")
}

/// A bound on the checks that run at once.
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

impl Places {
    fn hold<T>(&self, work: impl FnOnce() -> T) -> T {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        let result = work();
        *self.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.freed.notify_one();
        result
    }
}
