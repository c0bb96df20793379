//! `make mutants`: breaks the ordering engine and the engine on purpose, one small change at a time, in a
//! copy outside the repository, and sees whether the tests and the simulation notice. The score is printed;
//! a mutant that survives is a failure.

mod copy;
mod list;
mod trial;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;

use crate::copy::Copy;
use crate::list::{Mutant, read};
use crate::trial::{Catch, Trial};

/// The lists, relative to the repository.
const LISTS: [&str; 2] = ["host/lanes/mutants.toml", "tests/sim/mutants.toml"];

/// Breaks host/lanes and host/engine on purpose and sees whether anything notices
#[derive(Debug, Parser)]
struct Arguments {
    /// Only mutants whose name or file contains this; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// Seeds that a mutant must survive
    #[arg(long, default_value_t = 400)]
    seeds: u64,
    /// Ask both the room's tests and the simulation, also where one has noticed already
    #[arg(long)]
    both: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the repository's root")?;
    let mut mutants = Vec::new();
    for list in LISTS {
        mutants.extend(read(root, list)?);
    }
    let total = mutants.len();
    mutants.retain(|one| is_asked_for(one, &arguments.only));
    let copy = Copy::of(root)?;
    let trial = Trial { copy: &copy, seeds: arguments.seeds, both: arguments.both };
    say(&format!("{} of {total} mutants, in {}", mutants.len(), copy.root().display()));
    trial.unharmed().context("without any mutant")?;
    let mut survivors = Vec::new();
    for (at, mutant) in mutants.iter().enumerate() {
        let began = Instant::now();
        let catches = trial.of(mutant)?;
        say(&line(at + 1, mutant, &catches, began.elapsed()));
        if !catches.iter().any(Catch::has_caught) {
            survivors.push(mutant);
        }
    }
    say(&format!("{} of {} mutants are caught", mutants.len() - survivors.len(), mutants.len()));
    for survivor in &survivors {
        say(&format!("survives: {} in {} ({})", survivor.name, survivor.file, survivor.invariant));
    }
    Ok(if survivors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Nothing asked for is everything.
fn is_asked_for(mutant: &Mutant, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|part| mutant.name.contains(part) || mutant.file.contains(part))
}

fn line(number: usize, mutant: &Mutant, catches: &[Catch], took: Duration) -> String {
    let told: Vec<String> = catches.iter().map(ToString::to_string).collect();
    format!("{number:>4} {:>4} s  {:<44} {}", took.as_secs(), mutant.name, told.join("; "))
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn say(line: &str) {
    println!("{line}");
}
