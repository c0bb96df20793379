//! The data folder: which topics there are, and where their files lie.
//!
//! ```text
//! DATA/lock                  held while a broker uses the folder
//! DATA/offsets.journal       committed offsets
//! DATA/topics/ID/topic       name, number of partitions, configuration
//! DATA/topics/ID/N.log       partition N
//! ```

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::LogFile;
use crate::error::BrokerError;

const FORMAT: &str = "keylane development broker, topic, format 1";

/// A data folder that this broker holds alone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The lock ends with the file handle, also when the process is killed.
    _lock: File,
}

/// A topic as its description file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) partitions: usize,
    pub(crate) config: BTreeMap<String, String>,
}

impl Folder {
    /// Takes the folder, creating it if need be.
    pub(crate) fn open(path: &Path) -> Result<Self, BrokerError> {
        let topics = path.join("topics");
        std::fs::create_dir_all(&topics).map_err(|e| BrokerError::data(&topics, e))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(|e| BrokerError::data(&lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(BrokerError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(BrokerError::data(&lock_path, source)),
        }
    }

    /// Where the journal of offsets lies.
    pub(crate) fn journal(&self) -> PathBuf {
        self.path.join("offsets.journal")
    }

    /// The log of one partition.
    pub(crate) fn log(&self, topic: Uuid, partition: usize) -> LogFile {
        LogFile::at(self.topic(topic).join(format!("{partition}.log")))
    }

    fn topic(&self, id: Uuid) -> PathBuf {
        self.path.join("topics").join(id.to_string())
    }

    /// Writes a topic's description, so that it is there whole or not at all.
    pub(crate) fn describe(&self, topic: &Described) -> std::io::Result<()> {
        let folder = self.topic(topic.id);
        std::fs::create_dir_all(&folder)?;
        let mut text = format!("{FORMAT}\nname {}\npartitions {}\n", topic.name, topic.partitions);
        for (key, value) in &topic.config {
            text.push_str(&format!("config {key}={value}\n"));
        }
        let draft = folder.join("topic.new");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, folder.join("topic"))
    }

    /// Removes a topic's files. The description goes first, or a crash would leave half a topic.
    pub(crate) fn remove(&self, id: Uuid) -> std::io::Result<()> {
        let folder = self.topic(id);
        std::fs::remove_file(folder.join("topic"))?;
        std::fs::remove_dir_all(folder)
    }

    /// The topics of an earlier run.
    pub(crate) fn topics(&self) -> Result<Vec<Described>, BrokerError> {
        let topics = self.path.join("topics");
        let entries = std::fs::read_dir(&topics).map_err(|e| BrokerError::data(&topics, e))?;
        let mut found = Vec::new();
        for entry in entries {
            let folder = entry.map_err(|e| BrokerError::data(&topics, e))?.path();
            let file = folder.join("topic");
            if !file.exists() {
                tracing::warn!(folder = %folder.display(), "left alone: a topic that was being created or deleted");
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|e| BrokerError::data(&file, e))?;
            let id = folder.file_name().and_then(|n| Uuid::try_parse(n.to_str()?).ok());
            let topic = id.and_then(|id| parse(id, &text));
            let damaged = || BrokerError::Damaged { path: file, at: 0, why: "not a topic's description" };
            found.push(topic.ok_or_else(damaged)?);
        }
        Ok(found)
    }
}

fn parse(id: Uuid, text: &str) -> Option<Described> {
    let mut lines = text.lines();
    if lines.next()? != FORMAT {
        return None;
    }
    let name = lines.next()?.strip_prefix("name ")?.to_owned();
    let partitions = lines.next()?.strip_prefix("partitions ")?.parse().ok()?;
    let config = |line: &str| {
        let (key, value) = line.strip_prefix("config ")?.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    Some(Described { id, name, partitions, config: lines.map(config).collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_description_comes_back(
            name in "[a-z._-]{1,20}",
            partitions in 1_usize..100,
            config in prop::collection::btree_map("[a-z.]{1,10}", "[0-9a-z, =]{0,10}", 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let opened = Folder::open(folder.path()).unwrap();
            let topic = Described { id: crate::topic::random_id(), name, partitions, config };
            opened.describe(&topic).unwrap();
            prop_assert_eq!(opened.topics().unwrap(), vec![topic]);
        }

        #[test]
        fn any_text_is_a_description_or_refused(body in "(name |partitions |config |[a-z0-9=\n]){0,8}") {
            let _either_way = parse(Uuid::nil(), &format!("{FORMAT}\n{body}"));
            let _either_way = parse(Uuid::nil(), &body);
        }
    }
}
