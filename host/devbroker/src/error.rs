//! What can go wrong when the broker starts.

use std::path::{Path, PathBuf};

/// Why the broker could not start. What fails later is answered to the client and logged.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The port on 127.0.0.1 could not be bound.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; choose another port, or 0 for any free one")]
    Bind {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder of the data folder could not be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another broker holds the data folder.
    #[error("{} is in use by another development broker; stop it, or choose another folder", path.display())]
    InUse {
        /// The data folder.
        path: PathBuf,
    },
    /// A file is damaged in a way that cutting its end cannot mend.
    #[error("{} is damaged at byte {at}: {why}; move the data folder away to start afresh", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file, in bytes from its start.
        at: u64,
        /// What is wrong there.
        why: &'static str,
    },
}

impl BrokerError {
    /// Whether the same start may succeed later without anybody changing anything by hand.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::Bind { .. } | Self::InUse { .. })
    }

    /// An error of the file system, with the path it was about.
    pub(crate) fn data(path: &Path, source: std::io::Error) -> Self {
        Self::Data { path: path.to_owned(), source }
    }
}
