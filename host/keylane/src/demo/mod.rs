//! `keylane demo`: the main job in one command. It starts the embedded broker and a host as the daemon
//! would, lets a simulated task exchange publish its events through an ordinary Kafka producer, and then
//! checks books, mails and reports against figures that it worked out by itself.
//!
//! The days of the exchange go by one after another ([`course`]); what should come of them is known
//! beforehand ([`exchange`], [`endings`]), is compared with what did ([`found`], [`checks`]), and is told
//! ([`report`]). Everything is kept in one folder ([`folder`]).

mod checks;
mod course;
mod deploy;
mod endings;
mod exchange;
mod folder;
mod found;
mod gauges;
mod produce;
mod progress;
mod report;
mod topics;

use std::collections::BTreeMap;
use std::fs::File;
use std::process::ExitCode;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use anyhow::{Context as _, bail};
use keylane_deployment::Manifest;
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_engine::Totals;
use keylane_kafka::{Admin, KafkaConfig, NewTopic};

use crate::cli::{DemoArgs, LogFormat};
use crate::config::HostConfig;
use crate::host::{self, Host};
use crate::logging;
use crate::print::{grouped, say};

use checks::{Check, Expected, checks};
use course::Course;
use endings::Endings;
use exchange::{Books, Exchange, Plan};
use folder::StateFolder;
use found::Found;
use gauges::Gauges;
use produce::Producer;
use progress::Progress;
use report::Report;

/// The file of log lines, inside the state folder.
const LOG: &str = "host.log";
/// The folder of topics and offsets, inside the state folder.
const BROKER: &str = "broker";
/// How long the demo may take, however few its events are.
const TIME_LEAST: Duration = Duration::from_secs(60);
/// How much longer it may take for each event.
const TIME_PER_EVENT: Duration = Duration::from_millis(5);

/// Runs the demo.
///
/// # Errors
/// When something it needs is missing, or it could not be brought to its end.
pub(crate) async fn run(args: &DemoArgs, log_format: LogFormat) -> anyhow::Result<ExitCode> {
    let folder = StateFolder::afresh(&args.state)?;
    log_into(&folder, log_format)?;
    let manifests = deploy::copy_handlers(&args.handlers, &folder)?;
    let broker = start_broker(&folder).await?;
    let bootstrap = broker.bootstrap();
    let config = HostConfig::load(&deploy::write_host_file(&folder, &bootstrap, &manifests)?)?;
    say(&introduction(args, &bootstrap))?;

    let host = host::start_embedded(&config).await?;
    let plan = Plan::of_events(args.seed, args.events, args.workers);
    let expected = expected(plan, &manifests);
    let limit = TIME_LEAST + TIME_PER_EVENT.saturating_mul(u32::try_from(args.events).unwrap_or(u32::MAX));
    let (went, elapsed) = go(plan, &manifests, &host, &expected, limit, &bootstrap).await;
    let (tallies, lag) = (host.tallies(), host.lag());
    host.stop().await;
    let Some(went) = went else { bail!("stopped by Ctrl-C before the end") };
    let found = Found::look(&folder, &config, tallies, lag).await?;
    broker.stop().await;

    let checks = checks(&expected, &found);
    let (expected, found, checks) = (&expected, &found, &checks);
    let (folder, bootstrap, program) = (&folder, bootstrap.as_str(), &program());
    say(&Report { expected, found, checks, folder, bootstrap, program, elapsed }.text())?;
    // Told last, below the report, where it is seen.
    went?;
    Ok(verdict(checks))
}

/// Log lines would tear the progress bar apart, so they go to a file.
fn log_into(folder: &StateFolder, format: LogFormat) -> anyhow::Result<()> {
    let path = folder.join(LOG);
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    logging::start_into(format, file)
}

async fn start_broker(folder: &StateFolder) -> anyhow::Result<Broker> {
    let options = BrokerOptions {
        data: Some(folder.join(BROKER)),
        auto_create_topics: false,
        ..BrokerOptions::default()
    };
    let broker = Broker::start(options).await?;
    let topics = topics::TOPICS.map(|(name, partitions)| NewTopic::new(name, partitions));
    Admin::new(&KafkaConfig::new(broker.bootstrap()))?.create_topics(&topics).await?;
    Ok(broker)
}

fn introduction(args: &DemoArgs, bootstrap: &str) -> String {
    let (events, workers, seed) = (grouped(args.events), grouped(args.workers.into()), args.seed);
    let state = args.state.display();
    [
        format!("\n  A task exchange of {workers} workers: about {events} events, made from seed {seed}\n"),
        format!("  broker     {bootstrap}, embedded, for development; it is not Apache Kafka"),
        "  handlers   accounting, email, analytics: WebAssembly components, a SQLite database each"
            .to_owned(),
        "  databases  synchronous=normal, in this demo only; the daemon waits for the disk at each commit"
            .to_owned(),
        format!("  folder     {state}, emptied at each start\n"),
    ]
    .join("\n")
}

fn expected(plan: Plan, manifests: &[Manifest]) -> Expected {
    let books = Books::of(Exchange::new(plan));
    let endings = manifests.iter().map(|manifest| {
        let Manifest { name, subscribe, .. } = manifest;
        (name.clone(), Endings::of(subscribe, &books))
    });
    let endings: BTreeMap<_, _> = endings.collect();
    Expected { books, endings }
}

/// Goes through the days, shows how far it is, and stops when it takes too long. Answers how it went
/// (nothing, if it was interrupted) and how long it took.
async fn go(
    plan: Plan,
    manifests: &[Manifest],
    host: &Host,
    expected: &Expected,
    limit: Duration,
    bootstrap: &str,
) -> (Option<anyhow::Result<()>>, Duration) {
    let day = AtomicUsize::new(1);
    let mut progress = Progress::new(expected.endings.values().map(|endings| endings.all()).sum());
    let drive = async {
        let accounting = manifests.iter().find(|manifest| manifest.name == "accounting");
        let accounting = accounting.context("accounting is not among the handlers")?;
        let course = Course { plan, accounting, gauges: host, expected, day: &day };
        let mut producer = Producer::new(bootstrap)?;
        course.run(&mut producer).await
    };
    let went = tokio::select! {
        went = drive => Some(went),
        () = progress.watch(host, &day) => None,
        () = tokio::time::sleep(limit) => Some(Err(anyhow::anyhow!("not done within {} s", limit.as_secs()))),
        _ = tokio::signal::ctrl_c() => None,
    };
    (went, progress.finish())
}

impl Gauges for Host {
    fn tallies(&self) -> Vec<(String, Totals)> {
        Host::tallies(self)
    }

    fn lag(&self) -> Option<u64> {
        Host::lag(self)
    }

    async fn unsent(&self) -> anyhow::Result<u64> {
        Host::unsent(self).await
    }
}

/// How to call this program again.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "keylane".to_owned())
}

fn verdict(checks: &[Check]) -> ExitCode {
    if checks.iter().all(|check| check.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
