//! `make sim SEEDS=n [SEED=s]`: lives through seeds and tells which of them break a promise. One seed alone
//! is replayed with its whole trace.

use std::process::{Command, ExitCode};

use clap::Parser;
use keylane_sim::{live, sweep};

/// Broken seeds that are told in full.
const TOLD: usize = 3;

/// Lives through simulated worlds of hosts, brokers and faults, each drawn from a seed
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// Where they begin
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Stop at the first seed that breaks a promise
    #[arg(long)]
    until_broken: bool,
    /// One seed alone, with its whole trace
    #[arg(long)]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // An owner that falls is caught and told with its seed; its backtrace would only hide that.
    std::panic::set_hook(Box::new(|_| {}));
    let broken = match arguments.seed {
        Some(seed) => replay(seed),
        None => many(&arguments),
    };
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn replay(seed: u64) -> bool {
    let report = live(seed, None);
    for line in &report.trace {
        println!("{line}");
    }
    for (_, told) in &report.breaches {
        println!("\ncommit {}: {told}", commit());
    }
    println!("seed {seed}: {} entries, {} broken promises", report.trace.len(), report.breaches.len());
    !report.breaches.is_empty()
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn many(arguments: &Arguments) -> bool {
    let Arguments { seeds, from, until_broken, .. } = *arguments;
    let began = std::time::Instant::now();
    let summary = sweep(from..from + seeds, None, |report| until_broken && !report.breaches.is_empty());
    for report in summary.broken.values().take(TOLD) {
        for (_, told) in &report.breaches {
            println!("commit {}: {told}", commit());
        }
    }
    for (what, times) in &summary.seen {
        println!("{times:>10}  {what}");
    }
    let broken: Vec<&u64> = summary.broken.keys().collect();
    let took = began.elapsed().as_secs_f64();
    println!("{} seeds, {} entries, {took:.1} s; broken: {broken:?}", summary.seeds, summary.entries);
    if let Some(seed) = broken.first() {
        println!("replay: make sim SEED={seed} at commit {}", commit());
    }
    !broken.is_empty()
}

/// The commit of the working copy, for the record.
fn commit() -> String {
    let told = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let told = told.ok().filter(|output| output.status.success());
    told.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
