//! The arguments of `keylane outbox` and `keylane adopt`. What stands here in comments is what `--help` says.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keylane_effects::Selection;

/// `keylane outbox`
#[derive(Debug, Args)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    pub(super) command: OutboxCommand,
}

/// What to do with what waits in an outbox.
#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// Show what waits: how much there is, and the oldest records and mails with what held them up
    List(ListArgs),
    /// Try what was refused again now, instead of when its time has come
    Retry(RetryArgs),
    /// Delete records or mails that will never be taken; what stands behind them goes on
    Drop(DropArgs),
    /// Go on after a relay has stopped because database and Kafka do not agree
    Reset(ResetArgs),
}

/// Whose outbox or progress.
#[derive(Debug, Args)]
pub(crate) struct Whose {
    /// The handler, by its name
    #[arg(value_name = "HANDLER")]
    pub(crate) handler: String,
    /// The host file that names it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// `keylane outbox list`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  keylane outbox list accounting --config deploy/sample/keylane.toml --refused")]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// Only what was refused, or waits for a topic that takes nothing
    #[arg(long)]
    pub(super) refused: bool,
    /// How many, the oldest
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(super) first: u16,
    /// One JSON document on standard output instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// `keylane outbox retry`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  keylane outbox retry accounting --config deploy/sample/keylane.toml")]
pub(super) struct RetryArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// Which, as `keylane outbox list` numbers them; without a number, all that were refused. What
    /// waits for its topic leaves when that takes records
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<i64>,
}

/// `keylane outbox drop`
#[derive(Debug, Args)]
#[command(after_help = "\
The event that made it has ended and is not handled again: what is dropped here is never sent, but for a mail that a
host is sending at that moment.

Examples:
  keylane outbox drop accounting --config deploy/sample/keylane.toml 1742 1743
  keylane outbox drop accounting --config deploy/sample/keylane.toml --refused")]
pub(super) struct DropArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// Which, as `keylane outbox list` numbers them
    #[arg(value_name = "ID", required_unless_present = "refused", conflicts_with = "refused")]
    pub(super) ids: Vec<i64>,
    /// All that were refused for what they are; what waits for its topic is named by its number
    #[arg(long)]
    pub(super) refused: bool,
}

/// `keylane outbox reset`
#[derive(Debug, Args)]
#[command(after_help = "\
A relay counts what it sends, in the database and in Kafka. Where the two do not agree, one of them was
restored from a backup or has lost records, and the relay stops rather than guess. This begins a new count:
what is in the outbox now is sent, even what Kafka had already taken after the backup was made.

Example:
  keylane outbox reset accounting --config deploy/sample/keylane.toml")]
pub(super) struct ResetArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
}

/// `keylane adopt`
#[derive(Debug, Args)]
#[command(after_help = "\
A SQLite file remembers the machine that uses it, because two machines that write one file would both lose.
After the file has been moved, and when no host uses the former one any more, this makes it this machine's.

Every database remembers the fleet whose progress it has, because a fleet of another name would do everything
again. After the fleet was renamed, and when no host runs under the former name any more, this makes it this
fleet's.

Example:
  keylane adopt accounting --config deploy/sample/keylane.toml")]
pub(crate) struct AdoptArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
}

/// These rows, or all that were refused if none is named.
pub(super) fn selection(ids: &[i64]) -> Selection {
    if ids.is_empty() { Selection::Refused } else { Selection::Rows(ids.to_vec()) }
}
