//! The way of mails into a folder, for development: one file for each Message-ID.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use keylane_effects::Letter;

/// A folder, as one of those who write into it sees it.
pub(super) struct Folder {
    path: PathBuf,
    /// What tells this one from all others that write into the folder. A process id alone would not do: hosts
    /// in containers may all have the same.
    writer: String,
    written: AtomicU64,
}

impl Folder {
    /// Makes the folder if it is missing.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let process = std::process::id();
        let writer = format!("{process}-{:016x}", RandomState::new().hash_one(process));
        Ok(Self { path: path.to_owned(), writer, written: AtomicU64::new(0) })
    }

    /// Writes under another name first, so that a file is whole as soon as it can be seen.
    pub async fn write(&self, letter: &Letter) -> std::io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path.join(format!(".{}-{number}.unfinished", self.writer));
        tokio::fs::write(&unfinished, &letter.message).await?;
        tokio::fs::rename(&unfinished, self.path.join(format!("{}.eml", file_name(&letter.message_id)))).await
    }
}

/// What stands before the `@` of a Message-ID of ours is a name that any file system takes; of another it
/// is made one.
fn file_name(message_id: &str) -> String {
    let name = message_id.split('@').next().unwrap_or_default();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=.".contains(character);
    name.chars().map(|character| if plain(character) { character } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_write_into_one_folder_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Folder::new(dir.path()).unwrap().writer);
        assert_ne!(one, other);
        assert!(one.starts_with(&format!("{}-", std::process::id())), "{one}");
    }
}
