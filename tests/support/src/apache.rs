//! A real Apache Kafka for the time of one test binary.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use tempfile::{NamedTempFile, TempDir};

use crate::tools::{ToolOutput, kafka_tool};

/// The oldest Java that Kafka 4 runs on.
const JAVA: u32 = 17;
/// Attempts to find two free neighbouring ports and start there: another process may be quicker.
const START_ATTEMPTS: u32 = 4;

/// A running broker. Dropping it stops the broker and removes its data; should this process be
/// killed, a guard process beside the broker does the same.
#[derive(Debug)]
pub struct ApacheKafka {
    port: u16,
    folder: TempDir,
    /// Further lines of its `server.properties`, if there are any.
    further: Option<NamedTempFile>,
}

impl ApacheKafka {
    /// Starts a broker on free ports with a folder of its own.
    ///
    /// # Errors
    /// The script failed; its last words are in the error.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with("")
    }

    /// The same, with further lines of its `server.properties`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(properties: &str) -> anyhow::Result<Self> {
        let mut last = anyhow::anyhow!("not tried");
        for _ in 0..START_ATTEMPTS {
            let further = (!properties.is_empty()).then(|| file_of(properties)).transpose()?;
            let kafka = Self { port: free_port_pair()?, folder: tempfile::tempdir()?, further };
            match kafka.script("up") {
                Ok(()) => return Ok(kafka),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address for clients, `127.0.0.1:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs one of Kafka's own tools against this broker, e.g. `kafka-console-producer`.
    ///
    /// # Errors
    /// The tool could not be started or took too long. A tool that failed is in the output.
    pub fn tool(&self, name: &str, args: &[&str], stdin: Option<&[u8]>) -> anyhow::Result<ToolOutput> {
        kafka_tool(&self.bootstrap(), name, args, stdin)
    }

    /// Kills the broker, lets its logs be changed, and starts it again at the same address.
    ///
    /// # Errors
    /// The script failed, or the change did.
    pub fn restart_after(&self, change: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
        self.script("kill")?;
        change()?;
        self.script("up")
    }

    /// The folder in which it has its logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.data().join("data")
    }

    /// What the broker logged, to be shown when a test fails.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.data().join("server.log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        // The folder itself, so that the script's clean leaves nothing behind.
        self.folder.path().to_owned()
    }

    fn script(&self, command: &str) -> anyhow::Result<()> {
        let mut script = Command::new(script_path());
        script.args([command, &self.port.to_string()]).arg(self.data());
        script.env("KAFKA_OWNER", std::process::id().to_string()).stdin(Stdio::null());
        if let Some(further) = &self.further {
            script.env("KAFKA_EXTRA", further.path());
        }
        let output = script.output().context("cannot run tests/kafka/kafka.sh")?;
        if !output.status.success() {
            bail!("kafka.sh {command} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}

impl Drop for ApacheKafka {
    fn drop(&mut self) {
        if let Err(error) = self.script("clean") {
            crate::checks::say(&format!("the broker on port {} may still run: {error:#}", self.port));
        }
    }
}

fn file_of(text: &str) -> anyhow::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// The path of `tests/kafka/kafka.sh`.
pub(crate) fn script_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../kafka/kafka.sh")
}

/// Kafka takes a port and the one after it.
fn free_port_pair() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind((Ipv4Addr::LOCALHOST, port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two free neighbouring ports on 127.0.0.1")
}

/// Why Apache Kafka cannot be had on this machine; `None` if it can.
#[must_use]
pub fn kafka_missing_reason() -> Option<String> {
    if cfg!(not(target_os = "linux")) {
        return Some("its script runs on Linux only".to_owned());
    }
    let java = match std::env::var("JAVA_HOME") {
        Ok(home) if !home.is_empty() => format!("{home}/bin/java"),
        _ => "java".to_owned(),
    };
    match java_version(&java) {
        None => return Some(format!("there is no JDK (install a JDK {JAVA} or later)")),
        Some(version) if version < JAVA => {
            return Some(format!("the JDK is version {version} (install a JDK {JAVA} or later)"));
        }
        Some(_) => {}
    }
    let maven = std::env::var("MVN").unwrap_or_else(|_unset| "mvn".to_owned());
    let has_maven = Command::new(&maven).arg("-version").output().is_ok_and(|o| o.status.success());
    // Once fetched, the broker starts without Maven.
    let is_fetched = || {
        let fetched = Command::new(script_path()).arg("fetch").env("MVN", "false").output();
        fetched.is_ok_and(|o| o.status.success())
    };
    (!has_maven && !is_fetched()).then(|| "there is no Maven (install Maven 3.8 or later)".to_owned())
}

fn java_version(java: &str) -> Option<u32> {
    let output = Command::new(java).arg("-version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = text.split('"').nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

/// Whether Kafka's absence is a failure: in CI, and where `KEYLANE_REQUIRE_KAFKA=1` asks for it.
#[must_use]
pub fn kafka_is_required() -> bool {
    let is_set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty() && v != "0" && v != "false");
    is_set("CI") || is_set("KEYLANE_REQUIRE_KAFKA")
}

/// A running broker, or the reason why there is none. The caller says what it leaves out, or fails
/// where [`kafka_is_required`]; [`apache_kafka`] does both.
///
/// # Errors
/// A sentence for people: what is missing, or how the start failed.
pub fn apache_kafka_or_reason() -> Result<ApacheKafka, String> {
    if let Some(reason) = kafka_missing_reason() {
        return Err(reason);
    }
    ApacheKafka::start().map_err(|error| format!("{error:#}"))
}

/// A running broker; `None` where the machine cannot have one, after saying which tests that leaves out.
///
/// # Errors
/// The start failed, or the broker is required and cannot be had.
pub fn apache_kafka(left_out: &str) -> anyhow::Result<Option<ApacheKafka>> {
    apache_kafka_with(left_out, "")
}

/// The same, with further lines of its `server.properties`.
///
/// # Errors
/// As [`apache_kafka`].
pub fn apache_kafka_with(left_out: &str, properties: &str) -> anyhow::Result<Option<ApacheKafka>> {
    match kafka_missing_reason() {
        None => ApacheKafka::start_with(properties).map(Some),
        Some(reason) if kafka_is_required() => {
            bail!("Apache Kafka is required here (CI or KEYLANE_REQUIRE_KAFKA is set), but {reason}")
        }
        Some(reason) => {
            crate::checks::say(&format!("LEFT OUT: {left_out}, which needs Apache Kafka: {reason}"));
            Ok(None)
        }
    }
}
