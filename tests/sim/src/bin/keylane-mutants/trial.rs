//! One mutant's trial: the change is made in the copy, those who should notice are asked, and the change is taken
//! back.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::copy::Copy;
use crate::judge::{Catch, Judge};
use crate::list::{Mutant, Room};

/// The longest a build may take; the first one builds every dependency.
const BUILD_LIMIT: Duration = Duration::from_secs(3_600);
/// The longest that tests or seeds may take without any mutant.
const RUN_LIMIT: Duration = Duration::from_secs(1_800);
/// With a mutant they may take so many times as long as without; what hangs is caught.
const SLOWER_MAX: u32 = 5;
/// And so long in any case.
const SLOW: Duration = Duration::from_secs(120);
/// Of what does not compile, or fails where it should not, so much is told.
const LAST_LINES: usize = 40;
/// Stands in a list for the tests inside the rooms, in the place of a binary.
const UNIT_TESTS: &str = "lib";
/// How often a child process is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How a child process ended.
struct Ended {
    /// None: it had to be ended.
    success: Option<bool>,
    output: String,
}

/// What somebody says without any mutant: if that is not nothing, their catches mean nothing.
#[derive(Debug, Clone)]
struct Unharmed {
    words: Option<String>,
    took: Duration,
}

pub struct Trial<'a> {
    copy: &'a Copy,
    seeds: u64,
    both: bool,
    features: Option<String>,
    /// Of those that were asked without any mutant.
    unharmed: RefCell<BTreeMap<Judge, Unharmed>>,
}

impl<'a> Trial<'a> {
    pub fn new(copy: &'a Copy, seeds: u64, both: bool, features: Option<String>) -> Self {
        Self { copy, seeds, both, features, unharmed: RefCell::default() }
    }

    /// Answers who noticed.
    pub fn of(&self, room: Room, mutant: &Mutant) -> Result<Vec<Catch>> {
        let mut judges = Vec::new();
        for judge in Judge::of(room, mutant)? {
            let Unharmed { words, took } = self.unharmed(&judge)?;
            if let Some(words) = words {
                return Ok(vec![Catch::Harmed(words)]);
            }
            judges.push((judge, SLOW.max(took * SLOWER_MAX)));
        }
        let path = self.copy.path(&mutant.file);
        let original = std::fs::read_to_string(&path)?;
        std::fs::write(&path, original.replacen(&mutant.find, &mutant.replace, 1))?;
        let catches = self.ask(&judges).with_context(|| mutant.name.clone());
        std::fs::write(&path, original)?;
        catches
    }

    /// Asked once.
    fn unharmed(&self, judge: &Judge) -> Result<Unharmed> {
        let known = self.unharmed.borrow().get(judge).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let began = Instant::now();
        let words = match self.answer(judge, RUN_LIMIT)? {
            Catch::Missed(_) => None,
            unbuilt @ Catch::Unbuilt(_) => Some(unbuilt.to_string()),
            answer => Some(format!("{answer}\n{}", self.last_words())),
        };
        let unharmed = Unharmed { words, took: began.elapsed() };
        self.unharmed.borrow_mut().insert(judge.clone(), unharmed.clone());
        Ok(unharmed)
    }

    fn ask(&self, judges: &[(Judge, Duration)]) -> Result<Vec<Catch>> {
        let mut catches = Vec::new();
        for (judge, limit) in judges {
            let catch = self.answer(judge, *limit)?;
            let is_enough = catch.has_caught() && !self.both;
            catches.push(catch);
            if is_enough {
                break;
            }
        }
        Ok(catches)
    }

    fn answer(&self, judge: &Judge, limit: Duration) -> Result<Catch> {
        match judge {
            Judge::Package(package) => self.tests(package, limit),
            Judge::Named(binary, part) => self.named(binary, part, limit),
            Judge::Simulation => self.simulation(limit),
        }
    }

    fn tests(&self, package: &str, limit: Duration) -> Result<Catch> {
        let build = self.cargo(&["test", "--no-run", "-p", package]);
        self.judged(build, (self.cargo(&["test", "-p", package]), limit), by_tests)
    }

    /// The whole workspace is named, because what is heavy would be built once more for a part of it. Our own
    /// code is not optimised: it is built for one run.
    fn named(&self, binary: &str, part: &str, limit: Duration) -> Result<Catch> {
        let mut test = vec!["test", "--workspace"];
        test.extend(if binary == UNIT_TESTS { vec!["--lib"] } else { vec!["--test", binary] });
        test.extend(self.features.iter().flat_map(|features| ["--features", features.as_str()]));
        let quickly_built = |mut command: Command| {
            command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0").env("CARGO_PROFILE_DEV_DEBUG", "false");
            command
        };
        let build = quickly_built(self.cargo(&[test.as_slice(), &["--no-run"]].concat()));
        let mut tests = quickly_built(self.cargo(&test));
        // A server that is missing is no reason to call a mutant missed.
        tests.env("KEYLANE_REQUIRE_KAFKA", "1").arg("--").args(Some(part).filter(|part| !part.is_empty()));
        self.judged(build, (tests, limit), by_tests)
    }

    fn simulation(&self, limit: Duration) -> Result<Catch> {
        let build = self.cargo(&["build", "-p", "keylane-sim", "--bin", "keylane-sim"]);
        let mut seeds = Command::new(self.copy.path("target/debug/keylane-sim"));
        seeds.args(["--until-broken", "--seeds", &self.seeds.to_string()]);
        self.judged(build, (seeds, limit), by_seeds)
    }

    /// Builds, and then asks those who are to judge, for so long at most.
    fn judged(
        &self,
        build: Command,
        (judges, limit): (Command, Duration),
        tell: fn(&Ended) -> Catch,
    ) -> Result<Catch> {
        let built = self.run(build, BUILD_LIMIT)?;
        if built.success != Some(true) {
            return Ok(Catch::Unbuilt(self.last_words()));
        }
        Ok(tell(&self.run(judges, limit)?))
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        command.args(arguments).args(["--offline", "--quiet"]).current_dir(self.copy.root());
        command.env("CARGO_TARGET_DIR", self.copy.path("target")).env("RUST_BACKTRACE", "0");
        command
    }

    fn output(&self) -> PathBuf {
        self.copy.path("target/output")
    }

    /// What was said last, as far as it fits.
    fn last_words(&self) -> String {
        let output = std::fs::read_to_string(self.output()).unwrap_or_default();
        let before = output.lines().count().saturating_sub(LAST_LINES);
        output.lines().skip(before).collect::<Vec<_>>().join("\n")
    }

    fn run(&self, mut command: Command, limit: Duration) -> Result<Ended> {
        let output = self.output();
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

fn by_tests(ended: &Ended) -> Catch {
    match ended.success {
        None => Catch::Hangs("the tests"),
        Some(false) => Catch::Tests,
        Some(true) => Catch::Missed("the tests"),
    }
}

fn by_seeds(ended: &Ended) -> Catch {
    match ended.success {
        None => Catch::Hangs("the seeds"),
        Some(true) => Catch::Missed("the simulation"),
        Some(false) => {
            let checker = ended.output.split("breaks \"").nth(1).and_then(|rest| rest.split('"').next());
            Catch::Simulation(checker.unwrap_or("a panic").to_owned())
        }
    }
}

/// Ends a child and everything that it started.
fn end(child: &mut Child) -> Result<()> {
    let group = format!("-{}", child.id());
    Command::new("kill").args(["-KILL", "--", &group]).status().context("kill")?;
    child.wait()?;
    Ok(())
}
