//! What keylane costs. It measures and never judges.
//!
//! - Without a command: CPU seconds for a million records of 200 bytes beside a bare client, both read from the
//!   same topic of an Apache Kafka, in one run and in turns.
//! - `effects`: handlers that write to a database and produce records, exactly once, beside a consumer that is
//!   written by hand.
//!
//! CPU seconds are what to compare; rates depend on what else the machine does. Each measured engine is a
//! process of its own, so that its CPU time and memory are its own.

mod bare;
mod books;
mod connection;
mod effects;
mod hand_written;
mod host;
mod records;
mod report;
mod rounds;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};

/// Measures keylane: without a command, with a component that does nothing beside a bare Kafka client
#[derive(Debug, Parser)]
#[command(name = "keylane-bench", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    plan: Plan,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    /// How many records
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) records: u64,
    /// How many keys, drawn with Zipf's weights
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) keys: u32,
    /// Partitions of the topic
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) partitions: i32,
    /// How often each engine reads the topic
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// The same seed writes the same records
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// A broker that runs already and has no topic `bench`; without one an Apache Kafka is started
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) broker: Option<String>,
}

/// Other measurements, and the engines that this program runs as processes of their own.
#[derive(Debug, Subcommand)]
enum Command {
    Effects(effects::EffectsPlan),
    /// The bare loop, started by the benchmark itself
    #[command(hide = true)]
    Bare(bare::BareArgs),
    /// The consumer written by hand, started by the benchmark itself
    #[command(hide = true)]
    HandWritten(hand_written::HandWrittenArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = linux().and_then(|()| match &cli.command {
        Some(Command::Effects(plan)) => effects::run(plan),
        Some(Command::Bare(args)) => bare::run(args),
        Some(Command::HandWritten(args)) => hand_written::run(args),
        None => measure(&cli.plan),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn linux() -> Result<()> {
    ensure!(cfg!(target_os = "linux"), "CPU time and memory are read from /proc, which only Linux has");
    Ok(())
}

fn measure(plan: &Plan) -> Result<()> {
    match &plan.broker {
        Some(broker) => rounds::run(plan, broker),
        None => {
            let kafka = keylane_test_support::ApacheKafka::start()?;
            rounds::run(plan, &kafka.bootstrap())
        }
    }
}
