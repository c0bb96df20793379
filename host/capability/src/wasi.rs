//! The language's own runtime: the part of WASI 0.2 that compilers put into every component.
//! It reaches nothing: no arguments, no environment, no files, standard input is empty, standard
//! output is the log. Sockets are not linked, so a component that imports them is refused.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, io, random};
use wasmtime_wasi::random::WasiRandom;
use wasmtime_wasi::{WasiCtx, WasiView};

use crate::clock::HostCall;
use crate::output::Output;
use crate::scope::LogScope;
use crate::state::GuestState;

/// The most random bytes that one call answers.
const RANDOM_BYTES_MAX: u64 = 1024 * 1024;

/// The interfaces that are always there, without versions.
const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Whether an interface is part of the language's runtime in a version that is linked.
pub(crate) fn offers(interface: &str, version: Option<&str>) -> bool {
    INTERFACES.contains(&interface) && version.is_some_and(|version| version.starts_with("0.2."))
}

/// Puts the language's runtime into a linker.
pub(crate) fn link(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    type S = GuestState;
    io::error::add_to_linker::<S, HasTable>(linker, |state| state.ctx().table)?;
    io::streams::add_to_linker::<S, HasTable>(linker, |state| state.ctx().table)?;
    io::poll::add_to_linker::<S, Waits>(linker, Waiting::of)?;
    clocks::wall_clock::add_to_linker::<S, WasiClocks>(linker, S::clocks)?;
    clocks::monotonic_clock::add_to_linker::<S, WasiClocks>(linker, S::clocks)?;
    cli::stdin::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::stdout::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::stderr::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    random::random::add_to_linker::<S, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    cli::environment::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::exit::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_input::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_output::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stdin::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stdout::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    cli::terminal_stderr::add_to_linker::<S, WasiCli>(linker, S::cli)?;
    filesystem::types::add_to_linker::<S, WasiFilesystem>(linker, S::filesystem)?;
    filesystem::preopens::add_to_linker::<S, WasiFilesystem>(linker, S::filesystem)?;
    random::insecure::add_to_linker::<S, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<S, WasiRandom>(linker, |state| state.ctx().ctx.random())
}

/// What the interfaces of input and output work on.
struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

/// What waits work on.
struct Waits;

impl HasData for Waits {
    type Data<'a> = Waiting<'a>;
}

/// One call that may wait. With an answer to a request to come it is a host call, whose time is not the
/// guest's own; else, as when a guest sleeps, it is the guest's.
struct Waiting<'a> {
    table: &'a mut ResourceTable,
    _call: Option<HostCall>,
}

impl Waiting<'_> {
    fn of(state: &mut GuestState) -> Waiting<'_> {
        let (table, call) = state.waiting();
        Waiting { table, _call: call }
    }
}

impl io::poll::Host for Waiting<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        io::poll::Host::poll(self.table, pollables).await
    }
}

impl io::poll::HostPollable for Waiting<'_> {
    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        io::poll::HostPollable::ready(self.table, pollable).await
    }

    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::poll::HostPollable::block(self.table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        io::poll::HostPollable::drop(self.table, pollable)
    }
}

/// A context that reaches nothing but the log.
pub(crate) fn context(scope: &Arc<LogScope>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(Output::stdout(scope.clone()))
        .stderr(Output::stderr(scope.clone()))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .build()
}
