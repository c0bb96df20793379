//! `keylane replay`: has a partition handled again from an offset on. It speaks to the handler's database itself, so
//! no host has to run, and those that do learn of it there.

mod args;

use std::process::ExitCode;

use anyhow::Context as _;
use keylane_effects::{ReplayError, ReplayRequest, Replayed};

pub(crate) use args::ReplayArgs;

use crate::config::HostConfig;
use crate::operator::{OperatorError, handler_named};
use crate::outbox;
use crate::print::{grouped, say};

/// `keylane replay`
///
/// # Errors
/// When a file is wrong, the handler has no progress there, events would be passed over, or the database does not
/// answer.
pub(crate) async fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let request = request(args)?;
    let config = outbox::database(&args.whose)?;
    let opened = keylane_effects::open(&config).await;
    let opened = opened.with_context(|| format!("the database of {}", request.handler))?;
    let replayed = opened.replay(&request, keylane_effects::ClaimsConfig::TAKE_LIMIT).await;
    say(&text(&request, &replayed.map_err(told)?))?;
    Ok(ExitCode::SUCCESS)
}

fn request(args: &ReplayArgs) -> anyhow::Result<ReplayRequest> {
    let whose = &args.whose;
    let config = HostConfig::load(&whose.config)?;
    let manifest = &handler_named(&config, &whose.config, &whose.handler)?.manifest;
    if manifest.grants.write_database().is_none() {
        let problem =
            format!("{:?} writes to no database: its progress is its group's commit", whose.handler);
        let hint = "stop its hosts and set the offset with kafka-consumer-groups --reset-offsets";
        return Err(OperatorError::wrong(problem, hint).into());
    }
    let topic = match (&args.topic, manifest.subscribe.topics.as_slice()) {
        (Some(topic), _) => topic,
        (None, [only]) => only,
        (None, topics) => {
            let problem = format!("{:?} reads several topics", whose.handler);
            let hint = format!("name one with --topic: {}", topics.join(", "));
            return Err(OperatorError::wrong(problem, &hint).into());
        }
    };
    Ok(ReplayRequest {
        handler: whose.handler.clone(),
        topic: topic.clone(),
        partition: args.partition,
        from: args.from,
        skip: args.skip,
        number: args.number,
        fleet: config.fleet,
    })
}

fn told(error: ReplayError) -> anyhow::Error {
    let hint = match &error {
        ReplayError::Database(error) => return error.clone().into(),
        ReplayError::NoProgress { .. } => "`keylane status` shows the partitions that a host handles",
        ReplayError::Skips { .. } => "--skip says that this is meant",
        ReplayError::Meanwhile { .. } => "without --as it says how it stands now",
    };
    OperatorError::wrong(error.to_string(), hint).into()
}

fn text(request: &ReplayRequest, replayed: &Replayed) -> String {
    let ReplayRequest { handler, topic, partition, from, .. } = request;
    let Replayed { replay, floor, ended_to, again, skipped } = replayed;
    let count = |offsets: i64| grouped(offsets.unsigned_abs());
    let (is, goes_on) = match request.number {
        None => ("would be", "would go on"),
        Some(_) => ("are", "goes on"),
    };
    let mut text = format!(
        "{handler}: {topic}[{partition}] {goes_on} from offset {from}, as replay {replay}\n\
         offsets that had ended and {is} handled again: {} (all below {floor} had, the last is {})",
        count(*again),
        ended_to - 1
    );
    if *skipped > 0 {
        text.push_str(&format!("\noffsets that had not ended and {is} passed over: {}", count(*skipped)));
    }
    if request.number.is_none() {
        text.push_str(&format!("\nnothing is done so far; to do it, say the same with --as {replay}"));
    }
    text
}
