//! The main scenario on a real Apache Kafka. Records come from Kafka's own console producer, and what is
//! committed and published is read by Kafka's own tools.

use std::process::ExitCode;

use anyhow::Context as _;
use keylane_e2e::scenario;
use keylane_e2e::story::Scale;
use keylane_e2e::tools::KafkaTools;
use keylane_test_support::{Checks, apache_kafka};

const NAME: &str = "the_exchange_survives_sigkill_on_apache_kafka";

/// Lines of the broker's log that are shown.
const LINES: usize = 200;

fn last_lines(log: &str) -> String {
    let skipped = log.lines().count().saturating_sub(LINES);
    log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    checks.run(NAME, || match apache_kafka(NAME)? {
        Some(kafka) => {
            let tools = KafkaTools::new(&kafka.bootstrap());
            let lived = scenario::run(&tools, Scale { tasks: 4_000, workers: 100, seed: 3 });
            lived.with_context(|| format!("the broker's log:\n{}", last_lines(&kafka.log())))
        }
        None => Ok(()),
    });
    checks.finish()
}
