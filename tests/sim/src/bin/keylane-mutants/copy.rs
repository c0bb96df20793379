//! A copy of what the mutants need: a small workspace of its own, so that nothing heavy is built for it and
//! the repository stays as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use toml::{Table, Value};

/// The rooms that are copied.
const ROOMS: [&str; 3] = ["host/lanes", "host/engine", "tests/sim"];

/// The copy; dropping it removes it.
pub struct Copy(TempDir);

impl Copy {
    pub fn of(root: &Path) -> Result<Self> {
        let copy = Self(tempfile::Builder::new().prefix("keylane-mutants-").tempdir()?);
        for room in ROOMS {
            copy_folder(&root.join(room), &copy.root().join(room))?;
        }
        for file in ["Cargo.lock", "clippy.toml"] {
            std::fs::copy(root.join(file), copy.root().join(file)).with_context(|| file.to_owned())?;
        }
        let manifest = std::fs::read_to_string(root.join("Cargo.toml"))?;
        std::fs::write(copy.root().join("Cargo.toml"), reduced(&manifest)?)?;
        Ok(copy)
    }

    pub fn root(&self) -> &Path {
        self.0.path()
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.root().join(file)
    }
}

/// The workspace's manifest with the copied rooms alone. Profiles of what is not there would be warned of.
fn reduced(manifest: &str) -> Result<String> {
    let mut manifest: Table = manifest.parse()?;
    let workspace = manifest.get_mut("workspace").and_then(Value::as_table_mut).context("no workspace")?;
    workspace.insert("members".to_owned(), ROOMS.map(Value::from).to_vec().into());
    let profile =
        manifest.get_mut("profile").and_then(|all| all.get_mut("dev")).and_then(Value::as_table_mut);
    if let Some(profile) = profile {
        profile.remove("package");
    }
    Ok(toml::to_string(&manifest)?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_holds_its_rooms_alone() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        let text = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let manifest: Table = reduced(&text).unwrap().parse().unwrap();
        let members = manifest["workspace"]["members"].as_array().unwrap();
        assert_eq!(members.len(), ROOMS.len());
        assert!(manifest["workspace"]["dependencies"].get("tokio").is_some());
    }
}
