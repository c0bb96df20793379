//! The binary: reads the command line, sets up logging, does what was asked, and says how it went.

mod api;
mod broker;
mod check;
mod cli;
mod component;
mod config;
mod demo;
mod dlq;
mod failure;
mod host;
mod logging;
mod operator;
mod outbox;
mod print;
mod replay;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use crate::cli::{Cli, Command};

/// The C library's took a fifth of the host's CPU where handlers have effects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long calls that are under way are waited for when a command has ended.
const CALLS_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli).unwrap_or_else(|error| {
        // Nobody is left to tell when standard error itself is closed.
        failure::report(&error, &mut std::io::stderr().lock()).unwrap_or(ExitCode::FAILURE)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Demo(args) = &cli.command {
        return to_its_end(demo::run(args, cli.log_format));
    }
    logging::start(cli.log_format)?;
    match cli.command {
        Command::Check(args) => {
            let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
            to_its_end(check::run(&args.files, &mut out, &mut err))
        }
        Command::Host(args) => {
            let config = config::HostConfig::load(&args.config)?;
            to_its_end(host::run(&config))
        }
        Command::Status(args) => to_its_end(operator::status(&args)),
        Command::Lanes(command) => to_its_end(operator::lanes(&command)),
        Command::Dlq(args) => to_its_end(dlq::run(&args)),
        Command::Outbox(args) => to_its_end(outbox::run(&args)),
        Command::Replay(args) => to_its_end(replay::run(&args)),
        Command::Adopt(args) => to_its_end(outbox::adopt(&args)),
        Command::Broker(args) => to_its_end(broker::run(&args)),
        Command::Demo(_) => unreachable!("the demo does its own logging and has been run"),
    }
}

/// Carries out a command on as many threads as the machine has cores. Threads that are in a call of the Kafka
/// client's by then, which may take a minute where brokers are away, are not waited for: what they were about is left
/// as by a crash.
fn to_its_end<T, E: Into<anyhow::Error>>(command: impl Future<Output = Result<T, E>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(command);
    runtime.shutdown_timeout(CALLS_WAIT);
    ended.map_err(Into::into)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_that_does_not_return_keeps_no_command_from_its_end() {
        let begun = Instant::now();
        let ended = to_its_end(async {
            let (begins, has_begun) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(|| {
                begins.send(()).unwrap();
                std::thread::sleep(CALLS_WAIT * 30);
            });
            has_begun.await.map(|()| 1)
        });
        assert_eq!(ended.unwrap(), 1);
        assert!(begun.elapsed() < CALLS_WAIT * 10, "{:?}", begun.elapsed());
    }
}
