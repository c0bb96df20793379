//! Where the parts under test lie: the binary and the components of the witnesses.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names another `keylane` binary than the one that was built beside this program.
const BINARY_VARIABLE: &str = "KEYLANE_BINARY";

/// The folder of the profile that this program was built with, such as `target/debug`.
fn profile_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where this program lies is not known")?;
    let folder = program.parent().context("this program lies in no folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    Ok(folder.to_owned())
}

/// The `keylane` binary of the same profile.
///
/// # Errors
/// When it is not built, with the command that builds it.
pub fn keylane() -> Result<PathBuf> {
    let binary = match std::env::var_os(BINARY_VARIABLE) {
        Some(binary) => PathBuf::from(binary),
        None => profile_folder()?.join("keylane"),
    };
    ensure!(binary.is_file(), "{} is not built: run `cargo build --bin keylane`", binary.display());
    Ok(binary)
}

/// The component of a witness, by its name among `tests/guests`.
///
/// # Errors
/// When it is not built, with the command that builds it.
pub fn component(name: &str) -> Result<Vec<u8>> {
    let profile = profile_folder()?;
    let target = profile.parent().context("the profile's folder lies in no target folder")?;
    let component = target.join(format!("wasm32-wasip2/component/guest_{name}.wasm"));
    std::fs::read(&component).with_context(|| format!("{}: run `make guests`", component.display()))
}

/// The script that runs the brokers.
#[must_use]
pub fn kafka_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../kafka/kafka.sh")
}
