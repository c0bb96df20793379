//! The main scenario on the development broker, at small size: it needs no JDK.

use anyhow::Result;
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::scenario;
use keylane_e2e::story::Scale;

#[test]
fn the_exchange_survives_sigkill_on_the_development_broker() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    scenario::run(&PlainClient::new(&broker.bootstrap), Scale { tasks: 3_000, workers: 60, seed: 11 })
}
