//! The operator's commands: they ask a running host through its admin port. `keylane status` shows how it
//! stands, `keylane lanes` decides about an event that waits.

mod client;
mod text;

use std::path::Path;
use std::process::ExitCode;

pub(crate) use client::OperatorError;

use crate::api::{HostStatus, LaneCommand, path};
use crate::cli::{LanesCommand, StatusArgs};
use crate::config::{Handler, HostConfig};
use crate::print::say;
use client::Client;

/// The handler that a command names.
///
/// # Errors
/// When the host file names no such handler.
pub(crate) fn handler_named<'a>(
    config: &'a HostConfig,
    file: &Path,
    name: &str,
) -> Result<&'a Handler, OperatorError> {
    config.handlers.iter().find(|handler| handler.manifest.name == name).ok_or_else(|| {
        let known: Vec<_> = config.handlers.iter().map(|handler| handler.manifest.name.as_str()).collect();
        let problem = format!("{} runs no handler {name:?}", file.display());
        OperatorError::wrong(problem, &format!("it runs {}", known.join(", ")))
    })
}

/// `keylane status`
///
/// # Errors
/// When the host cannot be asked, or does not answer what was asked.
pub(crate) async fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let answer = Client::of(&args.config)?.get(path::STATUS).await?;
    say(&shown(&answer, args.json)?)?;
    Ok(ExitCode::SUCCESS)
}

/// A host's answer as it is shown.
///
/// # Errors
/// When it is not a host's answer, or one of another version.
fn shown(answer: &str, json: bool) -> Result<String, OperatorError> {
    let unexpected = |error: serde_json::Error| OperatorError::unexpected(&error);
    let status: HostStatus = serde_json::from_str(answer).map_err(unexpected)?;
    if json {
        // What a later version tells beside it is shown as well.
        let whole: serde_json::Value = serde_json::from_str(answer).map_err(unexpected)?;
        return Ok(format!("{whole:#}"));
    }
    Ok(text::status(&status))
}

/// `keylane lanes`
///
/// # Errors
/// As [`status`].
pub(crate) async fn lanes(command: &LanesCommand) -> anyhow::Result<ExitCode> {
    let (path, lane, offset) = match command {
        LanesCommand::Resume(args) => (path::RESUME, &args.lane, args.offset),
        LanesCommand::Skip(args) => (path::SKIP, &args.lane, Some(args.offset)),
    };
    let wish = LaneCommand {
        handler: lane.handler.clone(),
        topic: lane.topic.clone(),
        partition: lane.partition,
        offset,
    };
    Client::of(&lane.config)?.post(path, &wish).await?;
    let place = format!("{}[{}] of {}", lane.topic, lane.partition, lane.handler);
    say(&match (command, offset) {
        (LanesCommand::Resume(_), Some(offset)) => format!("{place}: offset {offset} is tried again"),
        (LanesCommand::Resume(_), None) => format!("{place}: everything that was paused is tried again"),
        (LanesCommand::Skip(_), offset) => {
            format!("{place}: offset {} is skipped", offset.unwrap_or_default())
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
