//! The folder that the demo keeps its state in. It is emptied at each start, so it must be one that the
//! demo made itself: a marker file in it says so.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keylane_deployment::{DeploymentError, Place};

/// The file that says whose folder this is. Held locked while a demo runs.
const MARKER: &str = ".keylane-demo";
const MARKER_TEXT: &str = "`keylane demo` made this folder, and empties it at each start.\n";

/// The folder of one run of the demo.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    /// Locked until this is dropped, so that a second demo cannot empty the folder of a running one.
    _marker: File,
}

impl StateFolder {
    /// Makes the folder, or empties the one that an earlier demo made.
    ///
    /// # Errors
    /// When something is there that no demo made, or another demo is running in it.
    pub(super) fn afresh(path: &Path) -> anyhow::Result<Self> {
        let marker_path = path.join(MARKER);
        if !marker_path.exists() {
            make(path)?;
            let made = || format!("cannot write {}", marker_path.display());
            fs::write(&marker_path, MARKER_TEXT).with_context(made)?;
        }
        let marker = lock(path, &marker_path)?;
        empty(path).with_context(|| format!("cannot empty {}", path.display()))?;
        Ok(Self { path: path.to_owned(), _marker: marker })
    }

    /// Where something of this name is kept.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Makes the folder. One that is there and empty will do: there is nothing in it to lose.
fn make(path: &Path) -> anyhow::Result<()> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotADirectory => {
            Err(error).with_context(|| format!("cannot look into {}", path.display()))
        }
        _ => Err(refused(
            path,
            "there is something here that no demo made, and a demo empties its folder",
            "name another folder with --state, or remove this one",
        )),
    }
}

fn lock(path: &Path, marker_path: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot lock {}", marker_path.display());
    let marker = File::open(marker_path).with_context(cannot)?;
    match marker.try_lock() {
        Ok(()) => Ok(marker),
        Err(TryLockError::WouldBlock) => Err(refused(
            path,
            "another demo is running in this folder",
            "wait for its end, or name another folder with --state",
        )),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

/// The marker stays: should the demo be killed in between, the folder is still known as its own.
fn empty(path: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name() == MARKER {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn refused(path: &Path, problem: &str, hint: &str) -> anyhow::Error {
    let place = Place { file: path.to_owned(), line: None, key: None };
    DeploymentError::Refused { place, problem: problem.to_owned(), hint: Some(hint.to_owned()) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_starts_afresh() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/demo");
        let first = StateFolder::afresh(&path).unwrap();
        fs::create_dir(first.join("mail")).unwrap();
        fs::write(first.join("mail/1.eml"), "a mail").unwrap();
        fs::write(first.join("ledger.db"), "books").unwrap();
        drop(first);

        let second = StateFolder::afresh(&path).unwrap();
        assert!(!second.join("mail").exists() && !second.join("ledger.db").exists());
        assert!(second.join(MARKER).exists());
    }

    #[test]
    fn what_no_demo_made_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let letter = folder.path().join("letter.txt");
        fs::write(&letter, "dear").unwrap();
        let told = StateFolder::afresh(folder.path()).unwrap_err();
        assert!(told.to_string().contains("no demo made"), "{told}");
        assert!(told.is::<DeploymentError>(), "it counts as bad input");
        let told = StateFolder::afresh(&letter).unwrap_err().to_string();
        assert!(told.contains("no demo made"), "{told}");
        assert_eq!(fs::read_to_string(&letter).unwrap(), "dear");
    }

    #[test]
    fn an_empty_folder_will_do() {
        let folder = tempfile::tempdir().unwrap();
        StateFolder::afresh(folder.path()).unwrap();
    }

    #[test]
    fn a_running_demo_keeps_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let running = StateFolder::afresh(folder.path()).unwrap();
        fs::write(running.join("ledger.db"), "books").unwrap();
        let told = StateFolder::afresh(folder.path()).unwrap_err().to_string();
        assert!(told.contains("another demo is running"), "{told}");
        assert!(running.join("ledger.db").exists());
    }
}
