//! A test binary without libtest: named checks in order, one line each, a summary like cargo's.

#![allow(clippy::print_stdout, reason = "this is what a test binary shows to whoever runs it")]

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Says a line to whoever runs the tests.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Runs checks by name and counts them. A binary with `harness = false` makes one, runs its
/// checks and returns [`finish`](Checks::finish), so that all checks can share one broker and the
/// broker is ended before the process is.
#[derive(Debug)]
pub struct Checks {
    filter: Option<String>,
    started: Instant,
    passed: usize,
    filtered: usize,
    failures: Vec<String>,
}

impl Checks {
    /// With the filter of `cargo test NAME`, if there is one.
    #[must_use]
    pub fn from_args() -> Self {
        let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
        Self { filter, started: Instant::now(), passed: 0, filtered: 0, failures: Vec::new() }
    }

    /// Whether the filter lets a check of this name run.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()))
    }

    /// Says a line to whoever runs the tests, for example what is left out and why.
    pub fn say(&self, line: &str) {
        say(line);
    }

    /// Runs one check. An error or a panic fails it; the others go on.
    pub fn run(&mut self, name: &str, check: impl FnOnce() -> anyhow::Result<()>) {
        if !self.wants(name) {
            self.filtered += 1;
            return;
        }
        let started = Instant::now();
        // A failed check keeps nothing that later checks share but the brokers, which bear it.
        let result = std::panic::catch_unwind(AssertUnwindSafe(check));
        let panicked = |_panic| Err(anyhow::anyhow!("it panicked; the message stands above"));
        self.report(name, started.elapsed(), result.unwrap_or_else(panicked));
    }

    /// Counts and shows a check that was run elsewhere, for example beside others.
    pub fn report(&mut self, name: &str, took: Duration, result: anyhow::Result<()>) {
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("test {name} ... ok ({took:.1?})");
            }
            Err(error) => self.fail(name, &format!("{error:#}")),
        }
    }

    fn fail(&mut self, name: &str, why: &str) {
        println!("test {name} ... FAILED\n---- {name} ----\n{why}\n----");
        self.failures.push(name.to_owned());
    }

    /// Prints the summary. The exit code is not 0 if any check failed.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        let result = if self.failures.is_empty() { "ok" } else { "FAILED" };
        if !self.failures.is_empty() {
            println!("\nfailures:\n    {}", self.failures.join("\n    "));
        }
        println!(
            "\ntest result: {result}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2?}\n",
            self.passed,
            self.failures.len(),
            self.filtered,
            self.started.elapsed()
        );
        if self.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
