//! `make sim` for the relay: lives through seeds and tells which of them break a promise. One seed alone is
//! replayed with its whole trace.

use std::process::ExitCode;

use clap::Parser;
use keylane_relays::{live, sweep};

/// Broken seeds that are told in full.
const TOLD: usize = 3;

/// Lives through simulated worlds of relays, databases, brokers and faults, each drawn from a seed
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// Where they begin
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One seed alone, with its whole trace
    #[arg(long)]
    seed: Option<u64>,
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn main() -> ExitCode {
    let Arguments { seeds, from, seed } = Arguments::parse();
    if let Some(seed) = seed {
        let report = live(seed, None);
        report.trace.iter().for_each(|line| println!("{line}"));
        report.breaches.iter().for_each(|(check, found)| println!("\nseed {seed} breaks {check:?}: {found}"));
        return if report.breaches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let summary = sweep(from..from + seeds, None, |_| false);
    for (seed, report) in summary.broken.iter().take(TOLD) {
        report.breaches.iter().for_each(|(check, found)| println!("seed {seed} breaks {check:?}: {found}"));
    }
    println!("relays: {} seeds, {} of them broken", summary.seeds, summary.broken.len());
    for (what, times) in &summary.seen {
        println!("{times:>9}  {what}");
    }
    if summary.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
