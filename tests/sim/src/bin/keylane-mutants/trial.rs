//! One mutant's trial: the change is made in the copy, the room's own tests and the simulation are asked,
//! and the change is taken back.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::copy::Copy;
use crate::list::Mutant;

/// The longest a build may take.
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// The longest that tests or seeds may take; what hangs is caught.
const RUN_LIMIT: Duration = Duration::from_secs(240);
/// How often a child process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Whether somebody noticed, and who.
#[derive(Debug)]
pub enum Catch {
    /// The room's own tests.
    Tests,
    /// The simulation, with the words of the checker.
    Simulation(String),
    /// It does not come to an end.
    Hangs(&'static str),
    /// Nobody, of those that are named.
    Missed(&'static str),
}

impl Catch {
    pub fn has_caught(&self) -> bool {
        !matches!(self, Self::Missed(_))
    }
}

impl std::fmt::Display for Catch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tests => write!(f, "caught by the tests"),
            Self::Simulation(checker) => write!(f, "caught by the simulation ({checker})"),
            Self::Hangs(who) => write!(f, "caught: {who} come to no end"),
            Self::Missed(who) => write!(f, "NOT caught by {who}"),
        }
    }
}

/// How a child process ended.
struct Ended {
    /// None: it had to be ended.
    success: Option<bool>,
    output: String,
}

pub struct Trial<'a> {
    pub copy: &'a Copy,
    pub seeds: u64,
    pub both: bool,
}

impl Trial<'_> {
    /// Everything must be well without a mutant, or a catch would mean nothing.
    pub fn unharmed(&self) -> Result<()> {
        for room in ["keylane-lanes", "keylane-engine"] {
            if self.tests(room)?.has_caught() {
                bail!("the tests of {room} fail");
            }
        }
        match self.simulation()? {
            Catch::Missed(_) => Ok(()),
            caught => bail!("the simulation fails: {caught}"),
        }
    }

    /// Answers who noticed. The ordering engine's own tests are quick and asked first; of the engine the
    /// simulation is asked first.
    pub fn of(&self, mutant: &Mutant) -> Result<Vec<Catch>> {
        let path = self.copy.path(&mutant.file);
        let original = std::fs::read_to_string(&path)?;
        std::fs::write(&path, original.replacen(&mutant.find, &mutant.replace, 1))?;
        let catches = self.ask(mutant).with_context(|| mutant.name.clone());
        std::fs::write(&path, original)?;
        catches
    }

    fn ask(&self, mutant: &Mutant) -> Result<Vec<Catch>> {
        let of_lanes = mutant.file.starts_with("host/lanes/");
        let room = if of_lanes { "keylane-lanes" } else { "keylane-engine" };
        let first = if of_lanes { self.tests(room)? } else { self.simulation()? };
        if first.has_caught() && !self.both {
            return Ok(vec![first]);
        }
        let second = if of_lanes { self.simulation()? } else { self.tests(room)? };
        Ok(vec![first, second])
    }

    fn tests(&self, room: &str) -> Result<Catch> {
        self.build(&["test", "--no-run", "-p", room])?;
        let ended = self.run(self.cargo(&["test", "-p", room]), RUN_LIMIT)?;
        Ok(match ended.success {
            None => Catch::Hangs("the tests"),
            Some(false) => Catch::Tests,
            Some(true) => Catch::Missed("the tests"),
        })
    }

    fn simulation(&self) -> Result<Catch> {
        self.build(&["build", "-p", "keylane-sim", "--bin", "keylane-sim"])?;
        let mut command = Command::new(self.copy.path("target/debug/keylane-sim"));
        command.args(["--until-broken", "--seeds", &self.seeds.to_string()]);
        let ended = self.run(command, RUN_LIMIT)?;
        let checker = ended.output.split("breaks \"").nth(1).and_then(|rest| rest.split('"').next());
        Ok(match ended.success {
            None => Catch::Hangs("the seeds"),
            Some(false) => Catch::Simulation(checker.unwrap_or("a panic").to_owned()),
            Some(true) => Catch::Missed("the simulation"),
        })
    }

    /// A mutant that does not compile says nothing of the tests.
    fn build(&self, arguments: &[&str]) -> Result<()> {
        let ended = self.run(self.cargo(arguments), BUILD_LIMIT)?;
        if ended.success != Some(true) {
            bail!("it does not compile:\n{}", ended.output);
        }
        Ok(())
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        command.args(arguments).args(["--offline", "--quiet"]).current_dir(self.copy.root());
        command.env("CARGO_TARGET_DIR", self.copy.path("target")).env("RUSTFLAGS", "-Awarnings");
        command
    }

    fn run(&self, mut command: Command, limit: Duration) -> Result<Ended> {
        let output = self.copy.path("output");
        let file = std::fs::File::create(&output)?;
        // A group of its own, so that what cargo started ends with it.
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let until = Instant::now() + limit;
        let success = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status.success());
            }
            if Instant::now() >= until {
                end(&mut child)?;
                break None;
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        let output = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
        Ok(Ended { success, output })
    }
}

/// Ends a child and everything that it started.
fn end(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    Command::new("kill").args(["-KILL", "--", &group]).status().context("kill")?;
    child.wait()?;
    Ok(())
}
