//! The bare loop: a plain consumer that reads everything and does nothing. It runs as a process of its own
//! and tells what it used on standard output.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use keylane_e2e::usage::{self, Usage};
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use serde_json::{Value, json};

use crate::records::TOPIC;
use crate::report::Measurement;

/// How long one poll waits for the next record.
const POLL: Duration = Duration::from_secs(1);
/// How many polls in a row may end without a record.
const SILENT_POLLS: u32 = 60;

/// What the loop reads.
#[derive(Debug, Args)]
pub(crate) struct BareArgs {
    #[arg(long)]
    broker: String,
    #[arg(long)]
    group: String,
    #[arg(long)]
    records: u64,
}

/// A client's settings: the same fetching as the host's, so that the difference is not there.
pub(crate) fn client(broker: &str, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("fetch.queue.backoff.ms", "10")
        .set("queued.max.messages.kbytes", "4096")
        .set("queued.min.messages", "10000");
    config
}

/// The loop itself.
///
/// # Errors
/// When it does not get all records.
pub(crate) fn run(args: &BareArgs) -> Result<()> {
    let consumer: BaseConsumer = client(&args.broker, &args.group).create()?;
    consumer.subscribe(&[TOPIC])?;
    let (mut read, mut bytes, mut first) = (0_u64, 0_usize, None);
    let mut silent = 0_u32;
    while read < args.records {
        // A poll also ends without a record when the group has something to tell.
        let Some(message) = consumer.poll(POLL) else {
            silent += 1;
            ensure!(silent < SILENT_POLLS, "only {read} of {} records came", args.records);
            continue;
        };
        let message = message?;
        first.get_or_insert_with(Instant::now);
        (read, silent) = (read + 1, 0);
        bytes += message.payload().map_or(0, <[u8]>::len);
    }
    let wall_s = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let usage = usage::usage(std::process::id())?;
    let told = json!({
        "bytes": bytes, "wall_s": wall_s, "cpu_s": usage.cpu_s,
        "rss_mib": usage.rss_mib, "rss_max_mib": usage.rss_max_mib,
    });
    writeln!(std::io::stdout(), "{told}")?;
    Ok(())
}

/// Runs the loop in a process of its own.
///
/// # Errors
/// When it does not end well.
pub(crate) fn measure(broker: &str, records: u64, round: u32) -> Result<Measurement> {
    let output = Command::new(std::env::current_exe()?)
        .args([
            "bare",
            "--broker",
            broker,
            "--group",
            &format!("bare-{round}"),
            "--records",
            &records.to_string(),
        ])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the bare loop ended with {}", output.status);
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let number =
        |name: &str| told.get(name).and_then(Value::as_f64).with_context(|| format!("no {name}: {told}"));
    Ok(Measurement {
        engine: "bare",
        round,
        records,
        wall_s: number("wall_s")?,
        usage: Usage {
            cpu_s: number("cpu_s")?,
            rss_mib: number("rss_mib")? as u64,
            rss_max_mib: number("rss_max_mib")? as u64,
        },
    })
}
