//! `keylane outbox`: looks at what waits to leave a handler's database, and decides about what cannot.
//! `keylane adopt`: makes a database this fleet's, and a SQLite file this machine's. Both speak to the database
//! itself, so no host has to run.

mod args;
mod text;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use keylane_effects::{DatabaseConfig, Outbox};

pub(crate) use args::{AdoptArgs, OutboxArgs, Whose};

use crate::config::{Address, Database, HostConfig};
use crate::host::plan;
use crate::operator::{OperatorError, handler_named};
use crate::print::{grouped, say};
use args::{DropArgs, ListArgs, OutboxCommand, ResetArgs, RetryArgs, selection};
use text::Shown;

/// `keylane outbox`
///
/// # Errors
/// When a file is wrong, or the database does not answer or cannot be used.
pub(crate) async fn run(args: &OutboxArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        OutboxCommand::List(args) => list(args).await,
        OutboxCommand::Retry(args) => retry(args).await,
        OutboxCommand::Drop(args) => drop_rows(args).await,
        OutboxCommand::Reset(args) => reset(args).await,
    }
}

/// `keylane adopt`
///
/// # Errors
/// When a file is wrong, or the database does not answer or was never used.
pub(crate) async fn adopt(args: &AdoptArgs) -> anyhow::Result<ExitCode> {
    let (config, handler) = (database(&args.whose)?, &args.whose.handler);
    let fleet = HostConfig::load(&args.whose.config)?.fleet;
    keylane_effects::adopt(&config).await?;
    let opened = keylane_effects::open(&config).await;
    let opened = opened.with_context(|| format!("the database of {handler}"))?;
    opened.adopt_progress(handler, &fleet).await?;
    say(&format!("{handler}: its database belongs to the fleet {fleet:?} here now"))?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let outbox = outbox(&args.whose).await?;
    let (counts, rows) = (outbox.counts().await?, outbox.list(args.refused, usize::from(args.first)).await?);
    let shown: Vec<Shown> = rows.iter().map(Shown::of).collect();
    say(&match args.json {
        true => text::json(&counts, &shown)?,
        false => text::list(&args.whose.handler, &counts, &shown),
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn retry(args: &RetryArgs) -> anyhow::Result<ExitCode> {
    let let_go = outbox(&args.whose).await?.retry(selection(&args.ids)).await?;
    say(&format!("{}: tried again now: {}", args.whose.handler, grouped(let_go)))?;
    Ok(ExitCode::SUCCESS)
}

async fn drop_rows(args: &DropArgs) -> anyhow::Result<ExitCode> {
    let gone = outbox(&args.whose).await?.drop_rows(selection(&args.ids)).await?;
    say(&format!("{}: dropped: {}", args.whose.handler, grouped(gone.dropped)))?;
    if gone.under_way.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::warn!(ids = ?gone.under_way, "these are on their way to Kafka already, and are not dropped");
    Ok(ExitCode::FAILURE)
}

async fn reset(args: &ResetArgs) -> anyhow::Result<ExitCode> {
    outbox(&args.whose).await?.reset().await?;
    say(&format!("{}: its relay begins a new count", args.whose.handler))?;
    Ok(ExitCode::SUCCESS)
}

/// The outbox of the handler that was named.
async fn outbox(whose: &Whose) -> anyhow::Result<Arc<dyn Outbox>> {
    let config = database(whose)?;
    let opened = keylane_effects::open(&config).await;
    Ok(opened.with_context(|| format!("the database of {}", whose.handler))?.outbox())
}

/// A command that looks makes no file: one that is not there has no outbox.
fn refuse_missing(database: &Database, whose: &Whose) -> Result<(), OperatorError> {
    match &database.write {
        Some(Address::Sqlite(file)) if !file.exists() => {
            let problem = format!("the database of {} is not there: {}", whose.handler, file.display());
            Err(OperatorError::wrong(
                problem,
                "a host makes it when it first starts; paths are relative to the host file",
            ))
        }
        _ => Ok(()),
    }
}

/// The database that the handler writes to.
///
/// # Errors
/// When a file is wrong, the handler writes to none, or it is not there yet.
pub(crate) fn database(whose: &Whose) -> anyhow::Result<DatabaseConfig> {
    let config = HostConfig::load(&whose.config)?;
    let handler = handler_named(&config, &whose.config, &whose.handler)?;
    let written = handler.manifest.grants.write_database().and_then(|grant| handler.databases.get(grant));
    let Some(written) = written else {
        let problem = format!("{:?} writes to no database, so it has no outbox", whose.handler);
        let hint = "what it produces leaves at once; see `keylane dlq` for its dead letters";
        return Err(OperatorError::wrong(problem, hint).into());
    };
    refuse_missing(written, whose)?;
    plan::database(handler, written)
}
