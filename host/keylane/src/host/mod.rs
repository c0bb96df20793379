//! `keylane host`: the daemon, from its first word to its exit code.

mod admin;
mod board;
mod databases;
mod effects;
mod phase;
pub(crate) mod plan;
mod rooms;
mod running;
mod signals;
mod starting;

use std::process::ExitCode;

use crate::config::HostConfig;

use board::Board;
use phase::{Life, Phase};
pub(crate) use running::Host;
use signals::Signals;

/// Runs the handlers of a host file until a signal asks it to stop.
///
/// # Errors
/// When a handler cannot be started.
pub(crate) async fn run(config: &HostConfig) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::take()?;
    let board = Board::new(Life::begin());
    admin::serve(&config.admin, &config.fleet, board.clone(), admin::collect_metrics()?).await?;
    let host = tokio::select! {
        host = Host::start(config, board.clone()) => host?,
        () = signals.next() => {
            board.life().advance(Phase::Stopped);
            return Ok(ExitCode::SUCCESS);
        }
    };
    signals.next().await;
    let drained = tokio::select! {
        drained = host.stop() => drained,
        () = signals.next() => {
            tracing::warn!("a second signal: stopping now; what was not finished will be repeated");
            false
        }
    };
    Ok(if drained { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A host inside another command, which has no admin port and no signals of its own.
pub(crate) async fn start_embedded(config: &HostConfig) -> anyhow::Result<Host> {
    Host::start(config, Board::new(Life::begin())).await
}
