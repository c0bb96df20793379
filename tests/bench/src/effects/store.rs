//! Where engines write: one server of PostgreSQL, or files of SQLite. Each measurement has an empty database of
//! its own; what a commit costs there is measured before.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use keylane_test_support::PostgreSql;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::cpu;
use super::plan::Kind;
use crate::connection::Connection;

/// Commits that are measured.
const COMMITS: usize = 200;
/// How long a changed setting may take.
const SETTING_LIMIT: Duration = Duration::from_secs(30);

/// A server or a folder.
pub(super) struct Store {
    pub(super) kind: Kind,
    folder: TempDir,
    server: Option<PostgreSql>,
    /// `NAME=VALUE`, as the plan has them.
    settings: Vec<String>,
    databases: u32,
}

/// An empty database: its address for an engine, and for one who only looks.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) url: String,
    pub(super) looked_at: String,
}

/// What a commit of one row costs, one after another.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitCost {
    /// What is added to each, in milliseconds; 0 is the disk as it is.
    pub(super) added_ms: u32,
    /// Half of them cost no more, in milliseconds.
    pub(super) p50_ms: f64,
    /// 95 of 100 cost no more.
    pub(super) p95_ms: f64,
}

impl Store {
    /// Starts it.
    ///
    /// # Errors
    /// When the server does not start.
    pub(super) fn start(kind: Kind, settings: &[String]) -> Result<Self> {
        let server = (kind == Kind::Postgres).then(PostgreSql::start).transpose()?;
        Ok(Self { kind, folder: tempfile::tempdir()?, server, settings: settings.to_vec(), databases: 0 })
    }

    /// An empty database.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn fresh(&mut self) -> Result<Place> {
        let kind = self.kind;
        let Some(server) = &self.server else {
            self.databases += 1;
            let file = self.folder.path().join(format!("books-{}.db", self.databases));
            let url = format!("sqlite://{}", file.display());
            return Ok(Place { kind, looked_at: url.clone(), url });
        };
        let url = server.database()?;
        // The handlers' tables belong to a role of their own, which the superuser may read.
        let looked_at = server.url(url.rsplit('/').next().unwrap_or_default());
        Ok(Place { kind, url, looked_at })
    }

    /// Sets what is added to each commit, and measures what one costs then. PostgreSQL sleeps with the log's
    /// lock held before it presses the log to the disk, as a disk does that takes so long: who commits
    /// meanwhile shares the next turn. It is the server's, so it costs all engines alike.
    ///
    /// # Errors
    /// When the setting is not taken, or nothing can be added to this database's commits.
    pub(super) fn cost_commits(&mut self, runtime: &Runtime, added_ms: u32) -> Result<CommitCost> {
        match &self.server {
            Some(server) => runtime.block_on(slow_down(&server.url("postgres"), &self.settings, added_ms))?,
            None if added_ms > 0 => bail!("SQLite has no setting that makes a commit slower"),
            None => {}
        }
        let place = self.fresh()?;
        let mut took = runtime.block_on(commits(&place.url))?;
        took.sort_by(f64::total_cmp);
        let at = |hundredths: usize| took.get(took.len() * hundredths / 100).copied().unwrap_or_default();
        Ok(CommitCost { added_ms, p50_ms: at(50), p95_ms: at(95) })
    }

    /// CPU seconds of the server so far; none without one.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) fn cpu_s(&self, runtime: &Runtime) -> Result<Option<f64>> {
        let Some(server) = &self.server else { return Ok(None) };
        let first = runtime.block_on(async {
            let mut connection = Connection::open(&server.url("postgres")).await?;
            let text = "SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)::bigint, 0::bigint";
            let (first, _) = connection.numbers(text, &[]).await?.context("no process")?;
            anyhow::Ok(u32::try_from(first)?)
        })?;
        Ok(Some(cpu::of_family(first)?))
    }
}

/// Presses each commit to the disk (servers of tests do not) and adds time to it.
async fn slow_down(url: &str, settings: &[String], added_ms: u32) -> Result<()> {
    let mut connection = Connection::open(url).await?;
    let delay = added_ms * 1_000;
    let own =
        ["fsync = on".to_owned(), "wal_writer_delay = '200ms'".to_owned(), "commit_siblings = 0".to_owned()];
    for setting in own.iter().chain(settings).chain([&format!("commit_delay = {delay}")]) {
        connection.script(format!("ALTER SYSTEM SET {setting}")).await?;
    }
    connection.script("SELECT pg_reload_conf()".to_owned()).await?;
    let end = Instant::now() + SETTING_LIMIT;
    let text =
        "SELECT current_setting('commit_delay')::bigint, (current_setting('fsync') = 'on')::int::bigint";
    while connection.numbers(text, &[]).await? != Some((delay.into(), 1)) {
        ensure!(Instant::now() < end, "the server does not take its settings");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// What commits cost, in milliseconds each.
async fn commits(url: &str) -> Result<Vec<f64>> {
    let mut connection = Connection::open(url).await?;
    connection.script("CREATE TABLE probe (number BIGINT NOT NULL)".to_owned()).await?;
    let mut took = Vec::with_capacity(COMMITS);
    for _ in 0..COMMITS {
        let began = Instant::now();
        connection.execute("INSERT INTO probe (number) VALUES (1)", &[]).await?;
        took.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}
