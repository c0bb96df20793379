//! Checks that run on the development broker, on Apache Kafka, or on both; those on one broker share it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use keylane_e2e::broker::{Broker, Stored};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::fleet::COPIES;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::topics::Topics;
use keylane_test_support::{Checks, apache_kafka_with};

/// Which brokers a check runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Both.
    Every,
    /// What only Apache Kafka can do.
    Kafka,
    /// What only the development broker cannot do.
    DevBroker,
}

/// A check: its name, its brokers, and what it does with one, given its address.
pub type Check = (&'static str, On, fn(&str) -> Result<()>);

/// A check under its name on one broker.
type Named = (String, fn(&str) -> Result<()>);

/// Runs the checks that the arguments let run.
pub fn run(about: &str, properties: &str, all: &[Check]) -> ExitCode {
    let mut checks = Checks::from_args();
    let on = |broker: &str, not: On| -> Vec<Named> {
        let wanted = all.iter().filter(|(_, on, _)| *on != not);
        wanted.map(|(name, _, check)| (format!("{name}_on_{broker}"), *check)).collect()
    };
    let on_dev_broker = on("the_dev_broker", On::Kafka);
    let on_kafka = on("apache_kafka", On::DevBroker);
    if on_dev_broker.iter().any(|(name, _)| checks.wants(name)) {
        let folder = tempfile::tempdir();
        let broker =
            folder.map_err(Into::into).and_then(|folder| Ok((DevBroker::start(folder.path())?, folder)));
        match broker {
            Ok((broker, _folder)) => judge(&mut checks, &broker.bootstrap, &on_dev_broker),
            Err(error) => checks.report("start_the_dev_broker", Duration::ZERO, Err(error)),
        }
    }
    if on_kafka.iter().any(|(name, _)| checks.wants(name)) {
        match apache_kafka_with(about, properties) {
            Ok(Some(kafka)) => judge(&mut checks, &kafka.bootstrap(), &on_kafka),
            Ok(None) => {}
            Err(error) => checks.report("start_apache_kafka", Duration::ZERO, Err(error)),
        }
    }
    checks.finish()
}

fn judge(checks: &mut Checks, bootstrap: &str, all: &[Named]) {
    let prepared = Topics::new(bootstrap).and_then(|topics| topics.create(COPIES, 3));
    if let Err(error) = prepared {
        return checks.report("prepare_the_broker", Duration::ZERO, Err(error));
    }
    for (name, check) in all {
        checks.run(name, || check(bootstrap));
    }
}

/// All copies so far.
pub fn copies(bootstrap: &str) -> Result<Vec<Stored>> {
    PlainClient::new(bootstrap).read(COPIES)
}
