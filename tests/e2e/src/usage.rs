//! What a process has used so far, from Linux's /proc.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// CPU time and memory of a process, all its threads together.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// Resident memory now, in MiB.
    pub rss_mib: u64,
    /// The most resident memory so far, in MiB.
    pub rss_max_mib: u64,
}

/// Reads the usage of a running process.
///
/// # Errors
/// When there is none of this id, or /proc is not as expected.
pub fn usage(id: u32) -> Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("no such process")?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let (_, after_name) = stat.rsplit_once(')').context("/proc/PID/stat without a name")?;
    // utime and stime are the 14th and 15th field; the second one is the name in brackets.
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    let mebibytes = |name: &str| {
        let line =
            status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        let kibibytes: u64 = line.split_whitespace().nth(1).with_context(|| format!("no {name}"))?.parse()?;
        Ok::<_, anyhow::Error>(kibibytes / 1024)
    };
    Ok(Usage {
        cpu_s: ticks.iter().sum::<f64>() / ticks_per_second()?,
        rss_mib: mebibytes("VmRSS:")?,
        rss_max_mib: mebibytes("VmHWM:")?,
    })
}

/// The unit of times in /proc.
///
/// # Errors
/// When the system does not say.
pub fn ticks_per_second() -> Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output().context("getconf cannot be started")?;
    ensure!(output.status.success(), "getconf CLK_TCK ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
