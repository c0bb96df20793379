//! The suite. Each check stands beside the words it must observe.

mod admin;
mod assignment;
mod fetching;
mod membership;
mod offsets;
mod producing;
mod records;
mod tools;
mod topics;

use crate::{Observed, Target};

/// One check: what to do, and what must be seen.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, unique in the suite.
    pub name: &'static str,
    /// What every broker must observe, line by line.
    pub expected: &'static [&'static str],
    /// Whether it needs Kafka's command line tools, and so a JDK.
    pub needs_tools: bool,
    /// Does it. It blocks.
    pub run: fn(&Target) -> anyhow::Result<Observed>,
}

const fn check(
    name: &'static str,
    run: fn(&Target) -> anyhow::Result<Observed>,
    expected: &'static [&'static str],
) -> Check {
    Check { name, expected, needs_tools: false, run }
}

/// All checks.
#[must_use]
pub fn suite() -> Vec<Check> {
    [
        topics::CHECKS,
        records::CHECKS,
        producing::CHECKS,
        offsets::CHECKS,
        fetching::CHECKS,
        membership::CHECKS,
        assignment::CHECKS,
        admin::CHECKS,
        tools::CHECKS,
    ]
    .concat()
}
