//! `make chaos`: rounds of faults on three brokers and three hosts, judged by an independent checker.

use std::process::ExitCode;

use clap::Parser;
use keylane_chaos::effects::Effects;
use keylane_chaos::fleet::Protocol;
use keylane_chaos::report::say;
use keylane_chaos::{clock, rounds};
use keylane_test_support::{kafka_missing_reason, postgres_missing_reason};

/// Kills, stops and moves hosts and brokers under load, and judges what they leave behind
#[derive(Debug, Parser)]
#[command(name = "keylane-chaos")]
struct Cli {
    /// How many rounds
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rounds: u64,
    /// What the first round is drawn from; each later round takes the next number. By default the time of day
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How the hosts form their group
    #[arg(long, value_enum, default_value = "classic")]
    protocol: Protocol,
    /// Handlers whose effects must happen once, and what keeps these; by default they only tell what they do
    #[arg(long, value_enum)]
    effects: Option<Effects>,
}

/// Why these rounds cannot be played here.
fn missing(effects: Option<Effects>) -> Option<String> {
    if let Some(reason) = kafka_missing_reason() {
        return Some(format!("it needs Apache Kafka, and {reason}"));
    }
    let postgres = (effects == Some(Effects::Postgres)).then(postgres_missing_reason).flatten();
    postgres.map(|reason| format!("it needs PostgreSQL, and {reason}"))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(reason) = missing(cli.effects) {
        say(&reason);
        return ExitCode::FAILURE;
    }
    let seed = cli.seed.unwrap_or_else(|| clock::now_ms() / 1000);
    match rounds::run(cli.rounds, seed, cli.protocol, cli.effects) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
