//! The suite. Each check stands beside the words it must observe.

mod admin;
mod assignment;
mod deleting;
mod fencing;
mod fetching;
mod kcat;
mod membership;
mod offsets;
mod producing;
mod rebalance;
mod records;
mod tools;
mod topics;
mod transactional_clients;
mod transactional_offsets;
mod transactions;
mod unknown;

use crate::{Observed, Target};
pub use kcat::has_kcat;

/// One check: what to do, and what must be seen.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name, unique in the suite.
    pub name: &'static str,
    /// What every broker must observe, line by line.
    pub expected: &'static [&'static str],
    /// What it needs beside a broker.
    pub needs: Needs,
    /// Does it. It blocks.
    pub run: fn(&Target) -> anyhow::Result<Observed>,
}

/// What a check needs beside a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// Kafka's command line tools, and so a JDK.
    KafkaTools,
    /// The program kcat.
    Kcat,
}

const fn check(
    name: &'static str,
    run: fn(&Target) -> anyhow::Result<Observed>,
    expected: &'static [&'static str],
) -> Check {
    Check { name, expected, needs: Needs::Nothing, run }
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
        rebalance::CHECKS,
        admin::CHECKS,
        deleting::CHECKS,
        unknown::CHECKS,
        transactions::CHECKS,
        fencing::CHECKS,
        transactional_offsets::CHECKS,
        transactional_clients::CHECKS,
        tools::CHECKS,
        kcat::CHECKS,
    ]
    .concat()
}
