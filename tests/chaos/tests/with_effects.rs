//! One round of chaos for each way to keep the handlers' effects: nothing is lost, twice or out of
//! order.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use keylane_chaos::effects::Effects;
use keylane_chaos::fleet::Protocol;
use keylane_chaos::plan::Plan;
use keylane_chaos::rounds;
use keylane_test_support::{Checks, kafka_is_required, kafka_missing_reason, postgres_missing_reason};

/// Each with a seed whose round has the faults that are meant for it.
const ROUNDS: [(&str, Effects, u64, &[&str]); 3] = [
    (
        "a_round_of_chaos_on_kafka_alone_has_each_record_once",
        Effects::Kafka,
        KAFKA_SEED,
        &["kill host", "stop host", "kill broker"],
    ),
    (
        "a_round_of_chaos_on_sqlite_has_each_effect_once",
        Effects::Sqlite,
        SQLITE_SEED,
        &["kill relay", "stop past pruning", "delete offsets"],
    ),
    (
        "a_round_of_chaos_on_postgresql_has_each_effect_once",
        Effects::Postgres,
        POSTGRES_SEED,
        &["kill relay", "kill database", "delete offsets"],
    ),
];
/// Draws the faults above.
const KAFKA_SEED: u64 = 1;
/// The same.
const SQLITE_SEED: u64 = 92;
/// The same.
const POSTGRES_SEED: u64 = 25;

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    let kafka = kafka_missing_reason().map(|reason| format!("Apache Kafka: {reason}"));
    for (name, effects, seed, wanted) in ROUNDS {
        let postgres = (effects == Effects::Postgres).then(postgres_missing_reason).flatten();
        let missing = kafka.clone().or_else(|| postgres.map(|reason| format!("PostgreSQL: {reason}")));
        if let Some(reason) = missing.as_ref().filter(|_| !kafka_is_required()) {
            checks.say(&format!("LEFT OUT: {name}, which needs {reason}"));
            continue;
        }
        checks.run(name, || {
            if let Some(reason) = missing {
                bail!("it is required here (CI or KEYLANE_REQUIRE_KAFKA is set), but {reason}");
            }
            let drawn = Plan::draw(seed, Some(effects)).faults;
            let drawn: BTreeSet<_> = drawn.iter().map(|planned| planned.fault.name()).collect();
            ensure!(wanted.iter().all(|name| drawn.contains(name)), "choose another seed: {drawn:?}");
            rounds::run(1, seed, Protocol::Classic, Some(effects))?;
            Ok(())
        });
    }
    checks.finish()
}
