//! Three rounds of chaos, which draw each kind of fault.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use keylane_chaos::fleet::Protocol;
use keylane_chaos::plan::{Plan, names};
use keylane_chaos::rounds;
use keylane_test_support::{Checks, kafka_is_required, kafka_missing_reason};

const NAME: &str = "three_rounds_of_chaos_lose_nothing";
const ROUNDS: u64 = 3;
/// This round and the next two draw each kind of fault.
const SEED: u64 = 31;

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    let missing = kafka_missing_reason();
    if let Some(reason) = missing.as_ref().filter(|_| !kafka_is_required()) {
        checks.say(&format!("LEFT OUT: {NAME}, which needs Apache Kafka: {reason}"));
        return checks.finish();
    }
    checks.run(NAME, || {
        if let Some(reason) = missing {
            bail!("Apache Kafka is required here (CI or KEYLANE_REQUIRE_KAFKA is set), but {reason}");
        }
        let drawn = (SEED..SEED + ROUNDS).flat_map(|seed| Plan::draw(seed, None).faults);
        let drawn: BTreeSet<_> = drawn.map(|planned| planned.fault.name()).collect();
        ensure!(drawn.len() == names(None).len(), "choose another seed, this one draws only {drawn:?}");
        let rows = rounds::run(ROUNDS, SEED, Protocol::Classic, None)?;
        let repeats: usize =
            rows.iter().map(|row| row.tally.repeats_killed + row.tally.repeats_stopped).sum();
        ensure!(repeats > 0, "no fault came while hosts had something to lose: that shows little");
        Ok(())
    });
    checks.finish()
}
