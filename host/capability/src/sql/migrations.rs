//! Migrations: the files of a handler's folder, run once each and in order when the handler starts.

use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};

use crate::error::CapabilityError;

/// Runs what has not run yet.
pub(crate) async fn run(pool: &SqlitePool, url: &str, folder: &Path) -> Result<(), CapabilityError> {
    let failed =
        |file: PathBuf, reason: String| CapabilityError::Migration { file, url: url.to_owned(), reason };
    if !folder.is_dir() {
        return Err(failed(folder.to_owned(), "there is no such folder".to_owned()));
    }
    let migrator = Migrator::new(folder).await;
    let migrator = migrator.map_err(|error| failed(folder.to_owned(), error.to_string()))?;
    if migrator.iter().next().is_none() {
        let reason =
            "the folder holds no migration; name them 1_first.sql, 2_second.sql and so on".to_owned();
        return Err(failed(folder.to_owned(), reason));
    }
    migrator.run(pool).await.map_err(|error| {
        let file = version(&error).and_then(|version| file_of(folder, version));
        failed(file.unwrap_or_else(|| folder.to_owned()), words(&error))
    })
}

/// The migration that an error is about.
fn version(error: &MigrateError) -> Option<i64> {
    match error {
        MigrateError::ExecuteMigration(_, version)
        | MigrateError::VersionMismatch(version)
        | MigrateError::Dirty(version) => Some(*version),
        _ => None,
    }
}

/// The error with what to do about it.
fn words(error: &MigrateError) -> String {
    match error {
        MigrateError::ExecuteMigration(source, _) => source.to_string(),
        MigrateError::VersionMismatch(_) => {
            "it has run before and has been changed since; put the change into a new file".to_owned()
        }
        MigrateError::VersionMissing(version) => {
            format!("migration {version} has run before, but its file is gone; put it back")
        }
        _ => error.to_string(),
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
