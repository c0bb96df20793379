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
use phase::Life;
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
    let mut host = Host::new(config, board);
    let started = tokio::select! {
        started = host.start(config) => started,
        // Handlers that run already end as they would later.
        () = signals.next() => return Ok(end(host, &mut signals).await),
    };
    match &started {
        Ok(()) => signals.next().await,
        // Handlers that run already are ended in good order first, which may take a while.
        Err(error) if !host.tallies().is_empty() => {
            tracing::error!(error = format!("{error:#}"), "the host cannot start");
        }
        Err(_) => {}
    }
    let code = end(host, &mut signals).await;
    started.map(|()| code)
}

/// Ends a host in good order, unless another signal wants it to end now.
async fn end(host: Host, signals: &mut Signals) -> ExitCode {
    let drained = tokio::select! {
        drained = host.stop() => drained,
        () = signals.next() => {
            tracing::warn!("a second signal: stopping now; what was not finished will be repeated");
            false
        }
    };
    if drained { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A host inside another command, which has no admin port and no signals of its own.
pub(crate) async fn start_embedded(config: &HostConfig) -> anyhow::Result<Host> {
    let mut host = Host::new(config, Board::new(Life::begin()));
    host.start(config).await?;
    Ok(host)
}
