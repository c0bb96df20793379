//! `keylane dlq`: looks at a handler's dead letters and gives them back to it. It speaks to the brokers
//! itself, so no host has to run.

mod args;
mod shown;
mod text;

use std::process::ExitCode;

use keylane_kafka::{Dlq, RedriveOptions};

pub(crate) use args::DlqArgs;

use crate::config::HostConfig;
use crate::host::plan;
use crate::operator::{OperatorError, handler_named};
use crate::print::say;
use args::{DlqCommand, ListArgs, RedriveArgs, ShowArgs, Whose};
use shown::Shown;

/// Letters carry the revision that buried them; a command has none.
const NO_REVISION: &str = "";

/// `keylane dlq`
///
/// # Errors
/// When a file is wrong, the brokers do not answer, or the letters are not this handler's.
pub(crate) async fn run(args: &DlqArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        DlqCommand::List(args) => list(args).await,
        DlqCommand::Show(args) => show(args).await,
        DlqCommand::Redrive(args) => redrive(args).await,
    }
}

async fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let lists = dlq(&args.whose)?.list().await?;
    say(&if args.whose.json { text::list_json(&lists) } else { text::list(&lists) })?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let dlq = dlq(&args.whose)?;
    let filter = args.filters.filter(args.whose.topic.as_deref(), dlq.topics())?;
    let letters = dlq.show(filter, usize::from(args.last)).await?;
    let shown: Vec<Shown> = letters.iter().map(|letter| Shown::of(letter, args.bytes, args.hex)).collect();
    say(&if args.whose.json { serde_json::to_string_pretty(&shown)? } else { text::letters(&shown) })?;
    Ok(ExitCode::SUCCESS)
}

async fn redrive(args: &RedriveArgs) -> anyhow::Result<ExitCode> {
    let dlq = dlq(&args.whose)?;
    let options = RedriveOptions {
        filter: args.filters.filter(args.whose.topic.as_deref(), dlq.topics())?,
        dry_run: args.dry_run,
        rate_per_s: args.rate,
        redrives_max: args.limit_redrives,
    };
    let report = dlq.redrive(options).await?;
    say(&match args.whose.json {
        true => text::redrive_json(&report, args.dry_run),
        false => text::redrive(&report, args.dry_run),
    })?;
    if report.held_back() == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    tracing::warn!(
        held_back = report.held_back(),
        limit = args.limit_redrives,
        "letters have been redriven so often already and are held back; --limit-redrives lets them go"
    );
    Ok(ExitCode::FAILURE)
}

/// The letters of the handler that was named.
fn dlq(whose: &Whose) -> anyhow::Result<Dlq> {
    let config = HostConfig::load(&whose.config)?;
    let manifest = &handler_named(&config, &whose.config, &whose.handler)?.manifest;
    let topics = &manifest.subscribe.topics;
    if let Some(topic) = whose.topic.as_ref().filter(|topic| !topics.contains(topic)) {
        let problem = format!("{:?} does not read {topic:?}", whose.handler);
        return Err(OperatorError::wrong(problem, &format!("it reads {}", topics.join(", "))).into());
    }
    let options = plan::dead_letters(&config.fleet, manifest, NO_REVISION);
    // Letters of one topic, where each topic has its own.
    let read = match &whose.topic {
        Some(topic) if options.topic.is_none() => std::slice::from_ref(topic),
        _ => topics,
    };
    Ok(Dlq::new(plan::kafka(&config), &config.fleet, &options, read))
}
