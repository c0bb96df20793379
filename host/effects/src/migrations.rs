//! Migrations of a handler: the files of its folder, compared with what has run. Running them is each
//! driver's own, in one transaction, so that several hosts starting at once run each file once and a file
//! that fails leaves nothing half done.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::migrate::{Migration, Migrator};

use crate::error::DatabaseError;

/// One file.
pub(crate) struct File {
    /// The number that its name begins with.
    pub version: i64,
    /// Where it lies.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Of its text, as sqlx computes it.
    pub checksum: Vec<u8>,
}

/// A handler's migrations, in order.
pub(crate) struct Folder {
    path: PathBuf,
    url: String,
    files: Vec<File>,
}

impl Folder {
    /// Reads the folder. The address is for messages.
    pub(crate) async fn read(path: &Path, url: &str) -> Result<Self, DatabaseError> {
        let mut folder = Self { path: path.to_owned(), url: url.to_owned(), files: Vec::new() };
        if !path.is_dir() {
            return Err(folder.fault(None, "there is no such folder"));
        }
        let migrator = Migrator::new(path).await;
        let migrator = migrator.map_err(|error| folder.fault(None, &error.to_string()))?;
        let up = migrator.iter().filter(|one| !one.migration_type.is_down_migration());
        folder.files = up.map(|one| file(path, one)).collect();
        if folder.files.is_empty() {
            let said = "the folder holds no migration; name them 1_first.sql, 2_second.sql and so on";
            return Err(folder.fault(None, said));
        }
        Ok(folder)
    }

    /// What has still to run, given version and checksum of what has run.
    pub(crate) fn pending(&self, ran: &BTreeMap<i64, Vec<u8>>) -> Result<Vec<&File>, DatabaseError> {
        let has = |version: &i64| self.files.iter().any(|file| file.version == *version);
        if let Some(gone) = ran.keys().find(|version| !has(version)) {
            let said = format!("migration {gone} has run before, but its file is gone; put it back");
            return Err(self.fault(None, &said));
        }
        let mut pending = Vec::new();
        for file in &self.files {
            match ran.get(&file.version) {
                Some(checksum) if *checksum == file.checksum => {}
                Some(_) => {
                    let said = "it has run before and was edited since; put the change into a new file";
                    return Err(self.fault(Some(file), said));
                }
                None => pending.push(file),
            }
        }
        Ok(pending)
    }

    /// An error about one file, or about all of them.
    pub(crate) fn fault(&self, file: Option<&File>, reason: &str) -> DatabaseError {
        let path = file.map_or(&self.path, |file| &file.path);
        DatabaseError::Migration { file: path.clone(), url: self.url.clone(), reason: reason.to_owned() }
    }
}

fn file(folder: &Path, migration: &Migration) -> File {
    let version = migration.version;
    File {
        version,
        path: file_of(folder, version).unwrap_or_else(|| folder.to_owned()),
        text: migration.sql.as_str().to_owned(),
        checksum: migration.checksum.to_vec(),
    }
}

/// The file of a version: its name begins with the number.
fn file_of(folder: &Path, version: i64) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    entries.filter_map(Result::ok).map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.split_once('_')).map(|(number, _)| number);
        number.and_then(|number| number.parse::<i64>().ok()) == Some(version)
    })
}
