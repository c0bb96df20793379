//! The main scenario on a real Apache Kafka. Records come from Kafka's own console producer, and what is
//! committed and published is read by Kafka's own tools.

use std::process::ExitCode;

use keylane_e2e::scenario;
use keylane_e2e::story::Scale;
use keylane_e2e::tools::KafkaTools;
use keylane_test_support::{Checks, apache_kafka};

const NAME: &str = "the_exchange_survives_sigkill_on_apache_kafka";

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    checks.run(NAME, || match apache_kafka(NAME)? {
        Some(kafka) => {
            let tools = KafkaTools::new(&kafka.bootstrap());
            scenario::run(&tools, Scale { tasks: 4_000, workers: 100, seed: 3 })
        }
        None => Ok(()),
    });
    checks.finish()
}
