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

use clap::Parser as _;

use crate::cli::{Cli, Command};

/// The C library's took a fifth of the host's CPU where handlers have effects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli).unwrap_or_else(|error| {
        // Nobody is left to tell when standard error itself is closed.
        failure::report(&error, &mut std::io::stderr().lock()).unwrap_or(ExitCode::FAILURE)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    if let Command::Demo(args) = &cli.command {
        return runtime()?.block_on(demo::run(args, cli.log_format));
    }
    logging::start(cli.log_format)?;
    match cli.command {
        Command::Check(args) => {
            let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
            Ok(runtime()?.block_on(check::run(&args.files, &mut out, &mut err))?)
        }
        Command::Host(args) => {
            let config = config::HostConfig::load(&args.config)?;
            runtime()?.block_on(host::run(&config))
        }
        Command::Status(args) => runtime()?.block_on(operator::status(&args)),
        Command::Lanes(command) => runtime()?.block_on(operator::lanes(&command)),
        Command::Dlq(args) => runtime()?.block_on(dlq::run(&args)),
        Command::Outbox(args) => runtime()?.block_on(outbox::run(&args)),
        Command::Replay(args) => runtime()?.block_on(replay::run(&args)),
        Command::Adopt(args) => runtime()?.block_on(outbox::adopt(&args)),
        Command::Broker(args) => runtime()?.block_on(broker::run(&args)),
        Command::Demo(_) => unreachable!("the demo does its own logging and has been run"),
    }
}

/// The async runtime of the commands that serve; threads as the machine has cores.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
