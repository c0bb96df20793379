//! `keylane demo`, small: it ends by itself, its cross-checks hold, and a second run starts afresh. The first has
//! more workers than one page of payouts.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};
use keylane_e2e::place;

fn demo(state: &Path, events: &str, workers: &str) -> Result<Output> {
    let handlers = place::repository().join("handlers");
    Ok(Command::new(place::keylane()?)
        .args(["demo", "--events", events, "--workers", workers, "--seed", "5"])
        .arg("--state")
        .arg(state)
        .arg("--handlers")
        .arg(handlers)
        .current_dir(place::repository())
        .output()?)
}

#[test]
fn the_demo_holds_its_cross_checks_and_starts_afresh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let state = folder.path().join("state");
    for (events, workers) in [("10000", "4000"), ("700", "40")] {
        let ran = demo(&state, events, workers)?;
        let (report, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        ensure!(ran.status.success(), "{}\n{report}\n{told}", ran.status);
        ensure!(report.contains("Cross-checks: all") && !report.contains("FAILED"), "{report}");
    }
    Ok(())
}

#[test]
fn a_folder_that_is_not_the_demos_is_left_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mine = folder.path().join("precious.txt");
    std::fs::write(&mine, "mine")?;
    let ran = demo(folder.path(), "10", "40")?;
    ensure!(ran.status.code() == Some(2), "{}", ran.status);
    ensure!(std::fs::read_to_string(&mine)? == "mine", "the demo touched a folder that is not its own");
    Ok(())
}
