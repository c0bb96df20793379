//! The command line. What stands here in comments is what `--help` says.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs WebAssembly components as Kafka consumers: events of one key one at a time and in order,
/// all keys at once.
#[derive(Debug, Parser)]
#[command(
    name = "keylane",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
Examples:
  keylane demo                                         see it work (`make demo` builds what it needs)
  keylane check deploy/sample/keylane.toml             is this configuration right?
  keylane host --config deploy/sample/keylane.toml     run it
  keylane status --config deploy/sample/keylane.toml   how does it stand?

Exit codes: 0 all is well; 2 something you gave is wrong (a command, a file, a component); 1 anything else.
What is logged is set with KEYLANE_LOG, as in KEYLANE_LOG=info,keylane_kafka=debug.")]
pub(crate) struct Cli {
    /// How log lines are written; they go to standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT", display_order = 100)]
    pub(crate) log_format: LogFormat,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How log lines are written: for people, or one JSON object a line. (Comments on the variants would
/// make every `--help` several lines longer.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the handlers that a host file names, until told to stop
    Host(HostArgs),
    /// Check host files and manifests, without starting anything
    Check(CheckArgs),
    /// Show how the handlers of a running host stand, partition by partition
    Status(StatusArgs),
    /// Decide about events that wait: let their lanes go on, or skip them
    #[command(subcommand)]
    Lanes(LanesCommand),
    /// List, show and send again what went to a handler's dead letters
    Dlq(crate::dlq::DlqArgs),
    /// List, try again and drop what waits to leave a handler's database
    Outbox(crate::outbox::OutboxArgs),
    /// Make a database this fleet's, and a moved SQLite file this machine's
    Adopt(crate::outbox::AdoptArgs),
    /// Have a partition handled AGAIN from an offset on, with all that its events do
    Replay(crate::replay::ReplayArgs),
    /// Show keylane at work: a broker, three handlers and a stream of events in one process
    Demo(DemoArgs),
    /// Run the development broker alone, for other Kafka clients to talk to
    Broker(BrokerArgs),
}

/// `keylane host`
#[derive(Debug, Args)]
#[command(after_help = "\
Ctrl-C or SIGTERM lets running events finish, commits what is done and exits with 0, or with 1 if something is left;
a second one means now.
Health, metrics and status are served at the `admin.listen` of the host file.

Example:
  keylane host --config deploy/sample/keylane.toml")]
pub(crate) struct HostArgs {
    /// The host file: brokers, databases, mail, and the manifests of the handlers to run
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// `keylane check`
#[derive(Debug, Args)]
#[command(after_help = "\
A host file is checked together with the manifests it names, and a manifest together with its component.
Each file that is right gets a line on standard output; what is wrong is said on standard error.

Examples:
  keylane check handlers/accounting/handler.toml
  keylane check deploy/sample/keylane.toml")]
pub(crate) struct CheckArgs {
    /// Host files or manifests; which it is shows from what is in it
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// `keylane status`
#[derive(Debug, Args)]
#[command(after_help = "\
Asks the host that runs with this file, on this machine, with the token that the file names under [admin].

Examples:
  keylane status --config deploy/sample/keylane.toml
  keylane status --config deploy/sample/keylane.toml --json")]
pub(crate) struct StatusArgs {
    /// The host file that the host was started with
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Everything the host tells, as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `keylane lanes`
#[derive(Debug, Subcommand)]
pub(crate) enum LanesCommand {
    /// Let a waiting lane go on, with fresh attempts for the event at its head
    Resume(ResumeArgs),
    /// End the event at a waiting lane's head as skipped, so that its lane goes on without it
    Skip(SkipArgs),
}

/// Which partition of which handler.
#[derive(Debug, Args)]
pub(crate) struct LaneArgs {
    /// The host file that the host was started with
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The handler's name
    #[arg(value_name = "HANDLER")]
    pub(crate) handler: String,
    /// The topic of the event
    #[arg(value_name = "TOPIC")]
    pub(crate) topic: String,
    /// Its partition
    #[arg(value_name = "PARTITION", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: i32,
}

/// `keylane lanes resume`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  keylane lanes resume --config deploy/sample/keylane.toml accounting task-lifecycle 3 1742")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) lane: LaneArgs,
    /// The event at the lane's head; without it every paused lane of the partition goes on, and the
    /// partition itself if it is halted
    #[arg(value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) offset: Option<i64>,
}

/// `keylane lanes skip`
#[derive(Debug, Args)]
#[command(after_help = "\
The handler will not see the event again, and it goes to no dead letters.

Example:
  keylane lanes skip --config deploy/sample/keylane.toml accounting task-lifecycle 3 1742")]
pub(crate) struct SkipArgs {
    #[command(flatten)]
    pub(crate) lane: LaneArgs,
    /// The event at the lane's head
    #[arg(value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    pub(crate) offset: i64,
}

/// `keylane demo`
#[derive(Debug, Args)]
#[command(after_help = "\
The components have to be built before; `make demo` does both.

Examples:
  keylane demo
  keylane demo --events 500000 --seed 7")]
pub(crate) struct DemoArgs {
    /// How many events to make
    #[arg(long, default_value_t = 50_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) events: u64,
    /// How many workers the events are about
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) workers: u32,
    /// The same seed makes the same events
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// Where databases, topics and mails are kept; emptied at the start
    #[arg(long, default_value = "demo", value_name = "DIR")]
    pub(crate) state: PathBuf,
    /// Where the folders of the three handlers are
    #[arg(long, default_value = "handlers", value_name = "DIR")]
    pub(crate) handlers: PathBuf,
}

/// `keylane broker`
#[derive(Debug, Args)]
#[command(after_help = "\
This is not Kafka: it is a small broker for development, on this machine only, without replicas.

Examples:
  keylane broker
  keylane broker --port 0 --data broker-data")]
pub(crate) struct BrokerArgs {
    /// The port on 127.0.0.1; 0 takes a free one
    #[arg(long, default_value_t = 9092, value_name = "PORT")]
    pub(crate) port: u16,
    /// The folder to keep topics and offsets in; without it all is kept in memory and gone at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Partitions of a topic that is made without saying how many
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) partitions: i32,
}

#[cfg(test)]
mod tests;
