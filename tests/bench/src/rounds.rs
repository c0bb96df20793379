//! The order of measurements: the host at rest, then both engines in turns, so that what else the machine
//! does meets both.

use anyhow::Result;
use keylane_e2e::broker::Broker as _;
use keylane_e2e::plain::PlainClient;

use crate::records::{self, TOPIC};
use crate::report::{self, Measurement};
use crate::{Plan, bare, host};

/// Who reads the topic.
enum Engine {
    Bare,
    Keylane,
}

/// Measures on this broker and reports.
///
/// # Errors
/// When something could not be measured.
pub(crate) fn run(plan: &Plan, broker: &str) -> Result<()> {
    PlainClient::new(broker).create_topics(&[TOPIC], plan.partitions)?;
    let rest = host::at_rest(broker)?;
    report::progress(&format!("writing {} records", plan.records));
    records::write(plan, broker)?;
    let mut measured: Vec<Measurement> = Vec::new();
    for round in 1..=plan.rounds {
        let mut engines = [Engine::Bare, Engine::Keylane];
        // Whoever came first comes second in the next round.
        engines.rotate_left(round as usize % 2);
        for engine in engines {
            let measurement = match engine {
                Engine::Bare => bare::measure(broker, plan.records, round)?,
                Engine::Keylane => host::measure(broker, plan.records, round)?,
            };
            report::line(&measurement)?;
            measured.push(measurement);
        }
    }
    report::summary(plan, &rest, &measured)
}
