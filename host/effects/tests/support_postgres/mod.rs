//! A real PostgreSQL for the time of one test binary.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Attempts to find a free port and start there: another process may be quicker.
const START_ATTEMPTS: u32 = 4;

/// A running server. Dropping it stops the server and removes its data; should this process be killed, a
/// guard process beside the server does the same.
#[derive(Debug)]
pub struct PostgreSql {
    port: u16,
    folder: TempDir,
}

impl PostgreSql {
    /// Starts a server on a free port with a folder of its own.
    ///
    /// # Errors
    /// The script failed; its last words are in the error.
    pub fn start() -> anyhow::Result<Self> {
        let mut last = anyhow::anyhow!("not tried");
        for _ in 0..START_ATTEMPTS {
            let server = Self { port: free_port()?, folder: tempfile::tempdir()? };
            // A server that root starts runs as another user, who must be able to pass.
            server.open_folder()?;
            match server.script("up") {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
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

    /// Ends it as a crash does.
    ///
    /// # Errors
    /// The script failed.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.script("kill")
    }

    /// Starts it again on the same data.
    ///
    /// # Errors
    /// The script failed.
    pub fn up(&self) -> anyhow::Result<()> {
        self.script("up")
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
        let output = script.output().context("cannot run postgres.sh")?;
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
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support_postgres/postgres.sh")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Why PostgreSQL cannot be had on this machine; `None` if it can.
fn missing_reason() -> Option<String> {
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

/// Whether its absence is a failure: in CI, and where `KEYLANE_REQUIRE_POSTGRES=1` asks for it.
fn is_required() -> bool {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty() && v != "0" && v != "false");
    is_set("CI") || is_set("KEYLANE_REQUIRE_POSTGRES")
}

/// A running server; `None` where the machine cannot have one, after saying which tests that leaves out.
///
/// # Errors
/// The start failed, or the server is required and cannot be had.
pub fn postgres(left_out: &str) -> anyhow::Result<Option<PostgreSql>> {
    match missing_reason() {
        None => PostgreSql::start().map(Some),
        Some(reason) if is_required() => {
            bail!("PostgreSQL is required here (CI or KEYLANE_REQUIRE_POSTGRES is set), but {reason}")
        }
        Some(reason) => {
            say(&format!("LEFT OUT: {left_out}, which needs PostgreSQL: {reason}"));
            Ok(None)
        }
    }
}

#[allow(clippy::print_stdout, reason = "this is what a test binary shows to whoever runs it")]
fn say(line: &str) {
    println!("{line}");
}
