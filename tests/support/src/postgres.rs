//! A real PostgreSQL for the time of one test binary.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, anyhow, bail};
use sqlx::Connection;
use tempfile::TempDir;

use crate::apache::kafka_is_required;
use crate::checks::say;

/// Attempts to find a free port and start there: another process may be quicker.
const START_ATTEMPTS: u32 = 4;
/// A plain user without rights beyond the databases that it makes.
const USER: &str = "host";

/// A running server. Dropping it stops the server and removes its data; should this process be killed, a
/// guard process beside the server does the same.
#[derive(Debug)]
pub struct PostgreSql {
    port: u16,
    folder: TempDir,
    databases: AtomicU32,
}

impl PostgreSql {
    /// Starts a server on a free port with a folder of its own.
    ///
    /// # Errors
    /// The script failed; its last words are in the error.
    pub fn start() -> anyhow::Result<Self> {
        let mut last = anyhow!("not tried");
        for _ in 0..START_ATTEMPTS {
            let server =
                Self { port: free_port()?, folder: tempfile::tempdir()?, databases: AtomicU32::new(0) };
            // A server that root starts runs as another user, who must be able to pass.
            server.open_folder()?;
            match server.script("up") {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes an empty database that a plain user owns, and answers its address for that user.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("check_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        execute(self.url_of(USER, "postgres"), vec![format!("CREATE DATABASE {name}")])?;
        Ok(self.url_of(USER, &name))
    }

    /// Changes a setting of the whole server (`ALTER SYSTEM ...`), for everybody at once.
    ///
    /// # Errors
    /// The server does not answer, or knows no such setting.
    pub fn configure(&self, change: &str) -> anyhow::Result<()> {
        execute(self.url("postgres"), vec![change.to_owned(), "SELECT pg_reload_conf()".to_owned()])
    }

    /// The address of a database of this server for its superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_of("postgres", database)
    }

    /// The address for another user; no password is asked for.
    #[must_use]
    pub fn url_of(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Kills its first process. Those of its sessions end what they are at, a commit among it, before they miss it.
    ///
    /// # Errors
    /// The script failed.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.script("kill")
    }

    /// Kills all of its processes, amid what they are at, as a machine that fails does.
    ///
    /// # Errors
    /// The script failed, or the server does not run.
    pub fn crash(&self) -> anyhow::Result<()> {
        self.script("crash")
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// The script failed.
    pub fn up(&self) -> anyhow::Result<()> {
        self.script("up")
    }

    /// Stops all of its processes where they are: it takes connections and answers nothing.
    ///
    /// # Errors
    /// The script failed.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.script("stop")
    }

    /// Lets its processes go on.
    ///
    /// # Errors
    /// The script failed.
    pub fn go_on(&self) -> anyhow::Result<()> {
        self.script("cont")
    }

    fn open_folder(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.folder.path(), open).context("cannot open the server's folder")
    }

    fn script(&self, command: &str) -> anyhow::Result<()> {
        let mut script = Command::new(script_path());
        script.args([command, &self.port.to_string()]).arg(self.folder.path());
        script.env("POSTGRES_OWNER", std::process::id().to_string()).stdin(Stdio::null());
        let output = script.output().context("cannot run tests/postgres/postgres.sh")?;
        if !output.status.success() {
            bail!("postgres.sh {command} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Drop for PostgreSql {
    fn drop(&mut self) {
        if let Err(error) = self.script("clean") {
            say(&format!("the server on port {} may still run: {error:#}", self.port));
        }
    }
}

fn script_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../postgres/postgres.sh")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Says one statement after the other, each in a transaction of its own. On a thread of its own, so that it can be
/// called from inside a runtime and from outside.
fn execute(url: String, statements: Vec<String>) -> anyhow::Result<()> {
    let said = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = sqlx::PgConnection::connect(&url).await?;
            for statement in statements {
                sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
            }
            connection.close().await?;
            anyhow::Ok(())
        })
    });
    said.join().map_err(|_panic| anyhow!("the thread that speaks to PostgreSQL panicked"))?
}

/// Why PostgreSQL cannot be had on this machine; `None` if it can.
#[must_use]
pub fn postgres_missing_reason() -> Option<String> {
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        return Some("its binaries are for Linux on x86-64 only".to_owned());
    }
    let fetched = Command::new(script_path()).arg("fetch").stdin(Stdio::null()).output();
    match fetched {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("postgres.sh cannot be run: {error}")),
    }
}

/// A running server; `None` where the machine cannot have one, after saying which tests that leaves out.
///
/// # Errors
/// The start failed, or a real server is required as [`kafka_is_required`] says and cannot be had.
pub fn postgres(left_out: &str) -> anyhow::Result<Option<PostgreSql>> {
    match postgres_missing_reason() {
        None => PostgreSql::start().map(Some),
        Some(reason) if kafka_is_required() => {
            bail!("PostgreSQL is required here (CI or KEYLANE_REQUIRE_KAFKA is set), but {reason}")
        }
        Some(reason) => {
            say(&format!("LEFT OUT: {left_out}, which needs PostgreSQL: {reason}"));
            Ok(None)
        }
    }
}
