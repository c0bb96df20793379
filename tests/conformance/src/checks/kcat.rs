//! kcat, which many people reach for first.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::{Check, Needs};
use crate::clients::new_topic;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[Check {
    name: "kcat",
    needs: Needs::Kcat,
    expected: &[
        "listed: topic \"by-kcat\" with 1 partitions:",
        "read: 0 k1=v1 ce_type=a",
        "read: 1 k2=v2 ce_type=a",
        "read by a group: v1",
        "read by a group: v2",
        "end: by-kcat [0] offset 2",
    ],
    run: kcat,
}];

/// Whether this machine has kcat.
#[must_use]
pub fn has_kcat() -> bool {
    Command::new("kcat").arg("-V").output().is_ok_and(|output| output.status.success())
}

fn run(target: &Target, args: &[&str], stdin: &str) -> anyhow::Result<String> {
    let mut child = Command::new("kcat")
        .args(["-b", &target.bootstrap, "-q"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("kcat")?;
    child.stdin.take().context("no input")?.write_all(stdin.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "kcat {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn kcat(target: &Target) -> anyhow::Result<Observed> {
    let topic = "by-kcat";
    new_topic(target, topic, 1)?;
    run(target, &["-P", "-t", topic, "-K", "=", "-H", "ce_type=a"], "k1=v1\nk2=v2\n")?;
    let listed = run(target, &["-L", "-t", topic], "")?;
    let line = listed.lines().map(str::trim).find(|line| line.starts_with("topic ")).unwrap_or_default();
    let mut seen = vec![format!("listed: {line}")];
    let read = run(target, &["-C", "-t", topic, "-o", "beginning", "-e", "-f", "%o %k=%s %h\\n"], "")?;
    seen.extend(read.lines().map(|line| format!("read: {line}")));
    let group = ["-X", "auto.offset.reset=earliest", "-e", "-f", "%s\\n", "-G", "by-kcat-group", topic];
    seen.extend(run(target, &group, "")?.lines().map(|line| format!("read by a group: {line}")));
    seen.push(format!("end: {}", run(target, &["-Q", "-t", "by-kcat:0:-1"], "")?.trim()));
    Ok(seen)
}
