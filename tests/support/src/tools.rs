//! Kafka's own command line tools.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::apache::script_path;
use crate::waiting;

/// A tool that takes longer is ended; starting its JVM alone can take seconds on a busy machine.
const TOOL_TIMEOUT: Duration = Duration::from_secs(120);

/// What a tool left.
#[derive(Debug, Clone)]
pub struct ToolOutput {
    /// Whether it exited with 0.
    pub ok: bool,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl ToolOutput {
    /// The standard output of a tool that must not fail.
    ///
    /// # Errors
    /// It failed; both outputs are in the error.
    pub fn expect_ok(self) -> anyhow::Result<String> {
        if !self.ok {
            bail!("a Kafka tool failed: {}\n{}", self.stderr, self.stdout);
        }
        Ok(self.stdout)
    }
}

/// Runs a tool of Kafka (`kafka-topics`, `kafka-console-producer`, `kafka-consumer-groups`, ...)
/// with `--bootstrap-server BOOTSTRAP` before `args`.
///
/// # Errors
/// The tool could not be started or took too long. A tool that failed is in the output.
pub fn kafka_tool(
    bootstrap: &str,
    name: &str,
    args: &[&str],
    stdin: Option<&[u8]>,
) -> anyhow::Result<ToolOutput> {
    // Files instead of pipes: no reader thread is needed, and a chatty tool never blocks.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut input = tempfile::tempfile()?;
    input.write_all(stdin.unwrap_or_default())?;
    input.seek(SeekFrom::Start(0))?;
    let mut child = Command::new(script_path())
        .args(["tool", name, "--bootstrap-server", bootstrap])
        .args(args)
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(out.try_clone()?))
        .stderr(Stdio::from(err.try_clone()?))
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let status = match waiting::until(name, TOOL_TIMEOUT, || Ok(child.try_wait()?)) {
        Ok(status) => status,
        Err(error) => {
            child.kill()?;
            child.wait()?;
            return Err(error.context(format!("{name} said: {}", read(&mut err)?)));
        }
    };
    Ok(ToolOutput { ok: status.success(), stdout: read(&mut out)?, stderr: read(&mut err)? })
}

fn read(file: &mut File) -> anyhow::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    Ok(std::io::read_to_string(file)?)
}
