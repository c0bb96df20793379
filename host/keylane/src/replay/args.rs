//! The arguments of `keylane replay`. What stands here in comments is what `--help` says.

use clap::Args;

use crate::outbox::Whose;

/// `keylane replay`
#[derive(Debug, Args)]
#[command(after_help = "\
For a handler that writes to a database, after a log was cut, or when its events shall be handled again. All that
the events of this partition at or above --from have done is done AGAIN: rows are written, records produced, mails
sent and requests made once more, beside what the first time has left. No other command repeats what was done.
What must not be there twice is to be undone in the handler's tables before, with its hosts stopped.

Otherwise hosts may run: whoever handles the partition is overtaken at its next commit, or within half a minute,
and goes on from --from, also where it had stopped reading. What waits in the outbox still leaves. A mail has the
former Message-ID only where the handler gives it an identity of its own; an idempotency key is another one.

Examples:
  keylane replay accounting --config deploy/sample/keylane.toml --partition 3 --from 1742 --dry-run
  keylane replay accounting --config deploy/sample/keylane.toml --topic task-lifecycle --partition 3 --from 1742")]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(super) whose: Whose,
    /// The topic; may be left out where the handler reads one only
    #[arg(long, value_name = "TOPIC")]
    pub(super) topic: Option<String>,
    /// The partition
    #[arg(long, value_name = "PARTITION", value_parser = clap::value_parser!(i32).range(0..))]
    pub(super) partition: i32,
    /// The first offset to handle
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub(super) from: i64,
    /// Let --from lie above offsets that have not ended, which are never handled then
    #[arg(long)]
    pub(super) skip: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(super) dry_run: bool,
}
