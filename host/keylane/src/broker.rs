//! `keylane broker`: the development broker alone, for kcat and Kafka's own tools.

use std::process::ExitCode;

use anyhow::Context as _;
use keylane_devbroker::{Broker, BrokerOptions};

use crate::cli::BrokerArgs;

/// Runs the broker until a signal asks it to stop.
///
/// # Errors
/// When the port is taken, or the data folder cannot be used.
pub(crate) async fn run(args: &BrokerArgs) -> anyhow::Result<ExitCode> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let options = BrokerOptions {
        port: args.port,
        data: args.data.clone(),
        default_partitions: args.partitions,
        ..BrokerOptions::default()
    };
    let broker = Broker::start(options).await.context("the development broker cannot start")?;
    tracing::info!(bootstrap = broker.bootstrap(), "listening");
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    broker.stop().await;
    Ok(ExitCode::SUCCESS)
}
