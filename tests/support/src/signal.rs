//! Signals to processes that a test has started, by their own process id.

use std::process::Command;

use anyhow::{Result, ensure};

/// Sends a signal, named without its `SIG`.
///
/// # Errors
/// When it cannot be sent: the process is gone.
pub fn signal(process: u32, name: &str) -> Result<()> {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    ensure!(sent.success(), "SIG{name} could not be sent: {sent}");
    Ok(())
}
