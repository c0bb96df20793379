//! The arguments of `keylane replay`. What stands here in comments is what `--help` says.

use clap::Args;

use crate::outbox::Whose;

/// `keylane replay`
#[derive(Debug, Args)]
#[command(after_help = "\
For a handler that writes to a database, after a log was cut, or when its events shall be handled again. All that
the events of this partition at or above --from have done is done AGAIN: rows are written, records produced, mails
sent and requests made once more, beside what the first time has left. What must not be there twice is to be undone
in the handler's tables before, with its hosts stopped. The same line said twice does it once.

Otherwise hosts may run: whoever handles the partition is overtaken at its next commit, or within half a minute,
and goes on from --from, also where it had stopped reading (a host that met a fault of its own is started again).
What waits in the outbox still leaves. A mail has the former Message-ID only where the handler gives it an identity
of its own; an idempotency key is another one, also of requests of events that were under way.

Examples:
  keylane replay accounting --config deploy/sample/keylane.toml --topic task-lifecycle --partition 3 --from 1742
  keylane replay accounting --config deploy/sample/keylane.toml --topic task-lifecycle --partition 3 --from 1742 --as 1")]
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
    /// Do it, as the replay with this number; without it, only say what would be done and which number that would be
    #[arg(long = "as", value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub(super) number: Option<i64>,
}
