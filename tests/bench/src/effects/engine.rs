//! A running engine: the host, or the consumer written by hand, each as a process of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::deployment::free_port;
use keylane_e2e::metrics::Metrics;
use keylane_e2e::usage::{self, Usage};
use keylane_e2e::{host, place as parts};
use keylane_test_support::{signal, waiting};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::plan::{Contender, Isolation};
use super::store::Place;
use crate::books::{self, Accounts, BALANCES, EVENT_TYPE};
use crate::connection::Connection;

/// How long a start or an end may take.
const LIMIT: Duration = Duration::from_secs(120);
/// The name of the handler.
pub(super) const HANDLER: &str = "books";

/// A running engine. It is killed when it is forgotten.
pub(super) struct Engine {
    child: Child,
    folder: TempDir,
    /// The host's admin port.
    admin_port: Option<u16>,
}

/// What an engine of a measurement is given.
pub(super) struct Task<'task> {
    pub(super) broker: &'task str,
    pub(super) topic: &'task str,
    /// Its own on this broker.
    pub(super) fleet: &'task str,
    pub(super) accounts: Accounts,
    /// Lines in `[limits]` of a handler's manifest.
    pub(super) limits: &'task [String],
}

impl Engine {
    /// Starts whoever it is on an empty database, and waits until the tables are there.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn start(
        runtime: &Runtime,
        contender: Contender,
        task: &Task<'_>,
        place: &Place,
    ) -> Result<Self> {
        match contender {
            Contender::HandWritten(workers) => Self::by_hand(runtime, workers, task, place),
            Contender::RunsOfOne => Self::with_books(task, place, Isolation::Serializable, "run-events = 1"),
            Contender::Keylane(isolation) => Self::with_books(task, place, isolation, ""),
        }
    }

    fn by_hand(runtime: &Runtime, workers: u32, task: &Task<'_>, place: &Place) -> Result<Self> {
        let tables = books::tables(&place.url, task.accounts) + &books::tables_by_hand(&place.url);
        runtime.block_on(async { Connection::open(&place.url).await?.script(tables).await })?;
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["hand-written", "--broker", task.broker, "--group", task.fleet]);
        command.args(["--topic", task.topic, "--database", &place.url]);
        command.args(["--workers", &workers.to_string()]);
        let child = launch(&mut command, folder.path())?;
        Ok(Self { child, folder, admin_port: None })
    }

    fn with_books(task: &Task<'_>, place: &Place, isolation: Isolation, limits: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let migrations = folder.path().join("migrations");
        std::fs::create_dir(&migrations)?;
        std::fs::write(migrations.join("0001_books.sql"), books::tables(&place.url, task.accounts))?;
        let manifest = format!(
            "name = {HANDLER:?}\ncomponent = \"books.wasm\"\n\n\
             [subscribe]\ntopics = [{:?}]\nevents = [{EVENT_TYPE:?}]\nstart = \"earliest\"\n\n\
             [grants.sql.ledger]\naccess = \"write\"\nmigrations = \"migrations\"\nisolation = {:?}\n\n\
             [grants.producer]\ntopics = [{BALANCES:?}]\n\n[limits]\n{limits}\n{}\n",
            task.topic,
            isolation.name(),
            task.limits.join("\n"),
        );
        let database = format!("[databases.{HANDLER}.ledger]\nwrite = {:?}\n\n", place.url);
        Self::host(folder, task, "guest_bookkeeper.wasm", &manifest, &database)
    }

    /// Starts the host with a handler that copies each record to another topic.
    ///
    /// # Errors
    /// When it does not start, or does not give this guarantee.
    pub(super) fn copying(task: &Task<'_>, guarantee: &str, copies: &str) -> Result<Self> {
        let manifest = format!(
            "name = {HANDLER:?}\ncomponent = \"books.wasm\"\n\n\
             [subscribe]\ntopics = [{:?}]\nstart = \"earliest\"\n\n[delivery]\nguarantee = {guarantee:?}\n\n\
             [grants.producer]\ntopics = [{copies:?}]\n\n[limits]\n{}\n",
            task.topic,
            task.limits.join("\n"),
        );
        Self::host(tempfile::tempdir()?, task, "guest_echo.wasm", &manifest, "")
    }

    fn host(
        folder: TempDir,
        task: &Task<'_>,
        component: &str,
        manifest: &str,
        databases: &str,
    ) -> Result<Self> {
        std::fs::copy(parts::component(component)?, folder.path().join("books.wasm"))?;
        std::fs::write(folder.path().join("handler.toml"), manifest)?;
        let port = free_port()?;
        let config = folder.path().join("keylane.toml");
        let text = format!(
            "fleet = {:?}\nhandlers = [\"handler.toml\"]\n\n[kafka]\nbrokers = [{:?}]\n\n{databases}\
             [admin]\nlisten = \"127.0.0.1:{port}\"\n",
            task.fleet, task.broker,
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new(parts::keylane()?);
        command.args(["--log-format", "json", "host", "--config"]).arg(config);
        let child = launch(&mut command, folder.path())?;
        let mut engine = Self { child, folder, admin_port: Some(port) };
        waiting::closely("the host is ready", LIMIT, || {
            ensure!(engine.child.try_wait()?.is_none(), "it ended");
            let ready = host::tell_port(port, "GET", "/readyz", None, "").ok();
            Ok(ready.filter(|(code, _)| *code == 200))
        })
        .with_context(|| engine.last_words())?;
        Ok(engine)
    }

    /// Fails when it has ended.
    ///
    /// # Errors
    /// With its last words.
    pub(super) fn must_run(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        ensure!(status.is_none(), "it ended with {}: {}", status.unwrap_or_default(), self.last_words());
        Ok(())
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub(super) fn usage(&self) -> Result<Usage> {
        usage::usage(self.child.id())
    }

    /// What the host tells of itself; nothing of another engine.
    ///
    /// # Errors
    /// When the host does not answer.
    pub(super) fn metrics(&self) -> Result<Metrics> {
        let Some(port) = self.admin_port else { return Ok(Metrics::default()) };
        let (code, body) = host::tell_port(port, "GET", "/metrics", None, "")?;
        ensure!(code == 200, "/metrics answered {code}: {body}");
        Metrics::read(&body)
    }

    /// Ends it: the host in good order, so that no transaction of Kafka's stays open.
    ///
    /// # Errors
    /// When the host does not end well.
    pub(super) fn end(mut self) -> Result<()> {
        if self.admin_port.is_none() {
            return Ok(());
        }
        signal(self.child.id(), "TERM")?;
        let status = waiting::until("the host has ended", LIMIT, || Ok(self.child.try_wait()?))
            .with_context(|| self.last_words())?;
        ensure!(status.success(), "the host ended with {status}; {}", self.last_words());
        Ok(())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(log(self.folder.path())).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(folder: &Path) -> PathBuf {
    folder.join("engine.log")
}

fn launch(command: &mut Command, folder: &Path) -> Result<Child> {
    let file = File::create(log(folder))?;
    Ok(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?)
}
