//! Where the parts under test lie: the binary, the components, the handlers' folders.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Names another `keylane` binary than the one that was built beside the test.
const BINARY_VARIABLE: &str = "KEYLANE_BINARY";

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

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
        None => profile_folder()?.join(format!("keylane{}", std::env::consts::EXE_SUFFIX)),
    };
    let release =
        if binary.parent().is_some_and(|folder| folder.ends_with("release")) { " --release" } else { "" };
    ensure!(binary.is_file(), "{} is not built: run `cargo build{release} -p keylane`", binary.display());
    Ok(binary)
}

/// The built component of this file name, such as `accounting.wasm`.
///
/// # Errors
/// When it is not built, with the command that builds it.
pub fn component(file: &str) -> Result<PathBuf> {
    let profile = profile_folder()?;
    let target = profile.parent().context("the profile's folder lies in no target folder")?;
    let component = target.join("wasm32-wasip2/component").join(file);
    ensure!(component.is_file(), "{} is not built: run `make components guests`", component.display());
    Ok(component)
}
