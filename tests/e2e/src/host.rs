//! `keylane host` as a child process: started, watched, killed, told to stop.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::{signal, waiting};

use crate::deployment::Deployment;
use crate::place;

/// How long an answer of the admin port may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// Lines of the log that are shown when something went wrong.
const LAST_LINES: usize = 40;

/// A running `keylane` process. It is killed when the test forgets it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the binary with these arguments; its log lines, as JSON, and its other words go to a file.
    ///
    /// # Errors
    /// When the binary is not built or cannot be started.
    pub fn start(arguments: &[&str], log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        let child = Command::new(place::keylane()?)
            .args(["--log-format", "json"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it gets no chance to do anything, and is gone when this returns.
    ///
    /// # Errors
    /// When it has ended before: then the test did not interrupt it.
    pub fn kill(mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "it had ended before it was killed: {}", self.last_words());
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM: it should finish what runs and end.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn terminate(&self) -> Result<()> {
        signal(self.id(), "TERM")
    }

    /// Keeps it from running (SIGSTOP) while someone looks at what it has done, so that a look which takes
    /// long still finds it where it was.
    ///
    /// # Errors
    /// When a signal cannot be sent, or what looking finds.
    pub fn while_it_stands_still<T>(&self, look: impl FnOnce() -> Result<T>) -> Result<T> {
        signal(self.id(), "STOP")?;
        let seen = look();
        signal(self.id(), "CONT")?;
        seen
    }

    /// Whether it has not ended yet.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not within the limit.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = waiting::until("the process has ended", limit, || Ok(child.try_wait()?));
        ended.with_context(|| self.last_words())
    }

    /// Everything it has written.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits until a text stands in what it wrote.
    ///
    /// # Errors
    /// When it does not within the limit, or the process has ended without it.
    pub fn until_says(&mut self, text: &str, limit: Duration) -> Result<()> {
        let said = waiting::until(text, limit, || {
            let ended = self.child.try_wait()?;
            let said = self.log()?.contains(text);
            ensure!(said || ended.is_none(), "it ended without saying {text:?}");
            Ok(said.then_some(()))
        });
        said.with_context(|| self.last_words())
    }

    /// The end of its log, for messages.
    #[must_use]
    pub fn last_words(&self) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        format!("its last words were:\n{}", lines.get(from..).unwrap_or_default().join("\n"))
    }

    /// The phases of a host that it has logged, in order.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn phases(&self) -> Result<Vec<String>> {
        let log = self.log()?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let phase = |line: serde_json::Value| Some(line.pointer("/fields/phase")?.as_str()?.to_owned());
        Ok(lines.filter_map(phase).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left of it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a host on a deployment. Each start of it writes a log of its own.
///
/// # Errors
/// When the binary is not built or cannot be started.
pub fn start(deployment: &Deployment, log_name: &str) -> Result<Process> {
    let config = deployment.config();
    let config = config.to_str().context("the temporary folder's name is not UTF-8")?;
    Process::start(&["host", "--config", config], &deployment.folder().join(log_name))
}

/// Asks the admin port of a host: the status code and the body.
///
/// # Errors
/// When nobody answers.
pub fn ask(deployment: &Deployment, path: &str) -> Result<(u16, String)> {
    tell(deployment, "GET", path, None, "")
}

/// Sends the admin port of a host something, perhaps with a token: the status code and the body.
///
/// # Errors
/// When nobody answers.
pub fn tell(
    deployment: &Deployment,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Result<(u16, String)> {
    tell_port(deployment.admin_port, method, path, token, body)
}

/// The same for the admin port with this number.
///
/// # Errors
/// When nobody answers.
pub fn tell_port(
    port: u16,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> Result<(u16, String)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer:?}"))?;
    let code = head.split(' ').nth(1).with_context(|| format!("no status: {head:?}"))?.parse()?;
    Ok((code, body.to_owned()))
}

/// What another command of the binary says of a running host: its exit code, standard output and
/// standard error.
///
/// # Errors
/// When the binary is not built or cannot be started.
pub fn command(deployment: &Deployment, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = Command::new(place::keylane()?).args(arguments).current_dir(deployment.folder()).output()?;
    let text = |bytes| String::from_utf8(bytes).context("it wrote something that is not UTF-8");
    Ok((output.status.code(), text(output.stdout)?, text(output.stderr)?))
}
