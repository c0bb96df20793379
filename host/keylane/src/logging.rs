//! Where log lines go: to standard error, so that standard output holds nothing but answers.

use std::fs::File;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::cli::LogFormat;

/// The environment variable that says what is logged.
const FILTER_VARIABLE: &str = "KEYLANE_LOG";

/// What is logged when nothing is said.
const FILTER: &str = "info";

/// Starts logging for the whole process.
///
/// # Errors
/// When the filter cannot be understood, or logging was started before.
pub(crate) fn start(format: LogFormat) -> anyhow::Result<()> {
    start_with(format, std::io::stderr, std::io::stderr().is_terminal())
}

/// The same, with lines that go to a file.
///
/// # Errors
/// As [`start`].
pub(crate) fn start_into(format: LogFormat, file: File) -> anyhow::Result<()> {
    start_with(format, file, false)
}

fn start_with<W>(format: LogFormat, writer: W, colours: bool) -> anyhow::Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = std::env::var(FILTER_VARIABLE).unwrap_or_else(|_| FILTER.to_owned());
    let filter = EnvFilter::try_new(&filter)
        .map_err(|error| anyhow::anyhow!("{FILTER_VARIABLE}={filter} cannot be understood: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging cannot be started: {error}"))
}
