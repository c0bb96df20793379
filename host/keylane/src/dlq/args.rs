//! The arguments of `keylane dlq`. What stands here in comments is what `--help` says.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::{Args, Subcommand};
use keylane_deployment::{Time, moment_ms, topic_problem};
use keylane_kafka::{LetterFilter, LetterPlace, REDRIVES_MAX};

use crate::operator::OperatorError;

/// `keylane dlq`
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    pub(super) command: DlqCommand,
}

/// What to do with the dead letters.
#[derive(Debug, Subcommand)]
pub(super) enum DlqCommand {
    /// Count them: how many there are, how many were redriven, how many wait and why
    List(ListArgs),
    /// Show the newest ones, or single ones: why they are here, their headers, key and value
    Show(ShowArgs),
    /// Give them back to the handler, through a topic that it alone reads; each is sent once
    Redrive(RedriveArgs),
}

/// Whose letters.
#[derive(Debug, Args)]
pub(super) struct Whose {
    /// The handler, by its name
    #[arg(value_name = "HANDLER")]
    pub(super) handler: String,
    /// The host file that names it
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Only events that came from this topic
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// One JSON document on standard output instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// `keylane dlq list`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  keylane dlq list accounting --config deploy/sample/keylane.toml")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
}

/// `keylane dlq show`
#[derive(Debug, Args)]
#[command(after_help = "\
Filters: class=CLASS, key=KEY, error=PART-OF-IT, handler=NAME, offset=TOPIC/PARTITION/OFFSET where the letter
lies (without TOPIC/ if all the handler's letters lie in one), and since=WHEN: a moment such as
2026-03-01T00:00:00Z, a time ago such as 2h, or milliseconds since 1970.

Examples:
  keylane dlq show accounting --config deploy/sample/keylane.toml --last 3
  keylane dlq show accounting --config deploy/sample/keylane.toml --filter offset=2/17 --hex")]
pub(super) struct ShowArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// How many, the newest
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(super) last: u16,
    /// Bytes shown of each key, value and header
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    pub(super) bytes: usize,
    /// Bytes as hexadecimal digits, even where they are text
    #[arg(long)]
    pub(super) hex: bool,
}

/// `keylane dlq redrive`
#[derive(Debug, Args)]
#[command(after_help = "\
Letters go to the topic TOPIC.HANDLER.retry, in order within a key, but not in order with the events that
the handler reads from its own topic meanwhile. What was sent is noted in the same transaction: run it again
after it was interrupted, and it goes on where it was. Letters that were left out stay for another time.
Filters are those of `keylane dlq show`.

Examples:
  keylane dlq redrive accounting --config deploy/sample/keylane.toml --dry-run
  keylane dlq redrive accounting --config deploy/sample/keylane.toml --filter class=timeout --rate 50")]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    #[command(flatten)]
    pub(super) filters: Filters,
    /// Only say what would be sent
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Letters in a second; as fast as it goes by default
    #[arg(long, value_name = "N")]
    pub(super) rate: Option<NonZeroU32>,
    /// Hold back letters that have been redriven so often
    #[arg(long, default_value_t = REDRIVES_MAX, value_name = "N")]
    pub(super) limit_redrives: u32,
}

/// Which letters.
#[derive(Debug, Args)]
pub(super) struct Filters {
    /// Only letters that fit: of one KEY any, of several all
    #[arg(long = "filter", value_name = "KEY=VALUE", value_parser = part)]
    parts: Vec<Part>,
}

/// One filter as given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Class(String),
    Key(Bytes),
    Since(i64),
    /// The dead-letter topic, if it was named, partition and offset.
    Offset(Option<String>, i32, i64),
    Error(String),
    Handler(String),
}

impl Filters {
    /// All of them together, for letters of events that came from this topic, which lie in these.
    ///
    /// # Errors
    /// One names a letter by a topic that is none of these, or by none where there are several.
    pub(super) fn filter(
        &self,
        topic: Option<&str>,
        letters_in: &[String],
    ) -> Result<LetterFilter, OperatorError> {
        let mut filter = LetterFilter { origin_topic: topic.map(str::to_owned), ..LetterFilter::default() };
        for part in self.parts.iter().cloned() {
            match part {
                Part::Class(class) => filter.classes.push(class),
                Part::Key(key) => filter.keys.push(key),
                // The narrower of two bounds, as if both had to be kept.
                Part::Since(ms) => filter.since_ms = filter.since_ms.max(Some(ms)),
                Part::Offset(topic, partition, offset) => {
                    filter.places.push(place(topic, partition, offset, letters_in)?);
                }
                Part::Error(text) => filter.errors.push(text),
                Part::Handler(handler) => filter.handler = Some(handler),
            }
        }
        Ok(filter)
    }
}

fn place(
    topic: Option<String>,
    partition: i32,
    offset: i64,
    letters_in: &[String],
) -> Result<LetterPlace, OperatorError> {
    let topic = match (topic, letters_in) {
        (None, [only]) => only.clone(),
        (Some(named), _) if letters_in.contains(&named) => named,
        (None, _) => {
            let example = letters_in.first().map_or("TOPIC", String::as_str);
            let problem = format!("offset={partition}/{offset} may lie in each of {}", letters_in.join(", "));
            let hint = format!("write the topic as well, such as offset={example}/{partition}/{offset}");
            return Err(OperatorError::wrong(problem, &hint));
        }
        (Some(named), _) => {
            let problem = format!("offset={named}/{partition}/{offset} is none of the letters asked for");
            let hint = format!("those lie in {}", letters_in.join(", "));
            return Err(OperatorError::wrong(problem, &hint));
        }
    };
    Ok(LetterPlace { topic, partition, offset })
}

fn part(given: &str) -> Result<Part, String> {
    let Some((key, value)) = given.split_once('=') else {
        return Err("write it as KEY=VALUE, such as class=timeout".to_owned());
    };
    match key {
        "class" => Ok(Part::Class(value.to_owned())),
        "key" => Ok(Part::Key(Bytes::copy_from_slice(value.as_bytes()))),
        "since" => since(value).map(Part::Since),
        "offset" => offset(value),
        "error" => Ok(Part::Error(value.to_owned())),
        "handler" => Ok(Part::Handler(value.to_owned())),
        _ => Err(format!("{key:?} is no filter: it is one of class, key, since, offset, error and handler")),
    }
}

fn offset(value: &str) -> Result<Part, String> {
    let parsed = || {
        let (rest, offset) = value.rsplit_once('/')?;
        let (topic, partition) = match rest.rsplit_once('/') {
            Some((topic, partition)) => (Some(topic), partition),
            None => (None, rest),
        };
        let is_topic = topic.is_none_or(|topic| topic_problem(topic).is_none());
        let (partition, offset): (i32, i64) = (partition.parse().ok()?, offset.parse().ok()?);
        let is_place = is_topic && partition >= 0 && offset >= 0;
        is_place.then(|| Part::Offset(topic.map(str::to_owned), partition, offset))
    };
    parsed().ok_or_else(|| {
        "write it as offset=TOPIC/PARTITION/OFFSET, such as offset=tasks.accounting.dlq/2/17, or without the \
         topic where there is only one: offset=2/17"
            .to_owned()
    })
}

fn since(value: &str) -> Result<i64, String> {
    if let Ok(ms) = value.parse() {
        return Ok(ms);
    }
    if let Ok(Time { ms }) = value.parse() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let ago = now.saturating_sub(u128::from(ms));
        return Ok(i64::try_from(ago).unwrap_or(i64::MAX));
    }
    moment_ms(value).map_err(|problem| {
        format!("{problem}: write a moment such as 2026-03-01T00:00:00Z, a time ago such as 2h, or milliseconds since 1970")
    })
}

#[cfg(test)]
mod tests;
