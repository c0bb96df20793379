//! `make mutants`: breaks the rooms on purpose, one small change at a time, in a copy of the repository, and sees
//! whether the tests and the simulation notice. The score is printed; a mutant that survives is a failure.

mod copy;
mod judge;
mod list;
mod trial;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::copy::{Copy, PLACE};
use crate::judge::Catch;
use crate::list::{Mutant, check, read, rooms};
use crate::trial::Trial;

/// Breaks the rooms of host/ on purpose and sees whether anything notices
#[derive(Debug, Parser)]
struct Arguments {
    /// The rooms whose lists are tried: lanes, engine, effects, guest, kafka; all of them by default
    room: Vec<String>,
    /// Only mutants whose name or file contains this; may be given more than once
    #[arg(long)]
    only: Vec<String>,
    /// Seeds that a mutant must survive
    #[arg(long, default_value_t = 400)]
    seeds: u64,
    /// Ask both the room's tests and the simulation, also where one has noticed already
    #[arg(long)]
    both: bool,
    /// Of which checkout a copy is broken; by default the one that this was built in
    #[arg(long)]
    repository: Option<PathBuf>,
    /// Where the copy lies and is built; by default target/mutants of the repository
    #[arg(long)]
    place: Option<PathBuf>,
    /// Features that the workspace is built with
    #[arg(long)]
    features: Option<String>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the repository's root")?;
    let root = &arguments.repository.map_or_else(|| Ok(own.to_owned()), |asked| asked.canonicalize())?;
    let mut mutants = Vec::new();
    for room in rooms(&arguments.room)? {
        mutants.extend(read(root, room)?.into_iter().map(|mutant| (room, mutant)));
    }
    let total = mutants.len();
    mutants.retain(|(_, one)| is_asked_for(one, &arguments.only));
    for (room, mutant) in &mutants {
        check(root, mutant).with_context(|| room.list())?;
    }
    ensure!(!mutants.is_empty(), "no mutant is called so");
    let copy = Copy::of(root, &arguments.place.unwrap_or_else(|| root.join(PLACE)))?;
    let trial = Trial::new(&copy, arguments.seeds, arguments.both, arguments.features);
    say(&format!("{} of {total} mutants, in {}", mutants.len(), copy.root().display()));
    let mut survivors = Vec::new();
    for (at, (room, mutant)) in mutants.iter().enumerate() {
        let began = Instant::now();
        let catches = trial.of(*room, mutant)?;
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
