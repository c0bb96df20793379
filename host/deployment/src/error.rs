//! What can be wrong with a manifest or a host file. Nothing here is helped by trying again: a person has
//! to change a file first.

use std::fmt;
use std::path::PathBuf;

/// Where in which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named to us.
    pub file: PathBuf,
    /// The line, from 1, where one can be told.
    pub line: Option<usize>,
    /// The table or key, with dots (`grants.sql.ledger`), where one can be told.
    pub key: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ", `{key}`")?;
        }
        Ok(())
    }
}

/// A file of the deployment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {problem}")]
    Syntax {
        /// Where the reader stumbled.
        place: Place,
        /// What it stumbled over.
        problem: String,
    },
    /// A key that this version does not know. It would be ignored otherwise, and its author would not notice.
    #[error("{place}: unknown key `{key}`")]
    UnknownKey {
        /// The table that holds the key.
        place: Place,
        /// The key.
        key: String,
        /// The keys that this table may hold.
        known: Vec<String>,
    },
    /// A value that cannot be used.
    #[error("{place}: {problem}")]
    Refused {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        problem: String,
        /// What to do, if that is not plain from the problem.
        hint: Option<String>,
    },
    /// A file or folder that the manifest names is not there.
    #[error("{}: no such {what}: {}", file.display(), missing.display())]
    Missing {
        /// The file that names it.
        file: PathBuf,
        /// What it should be: "component" or "folder of migrations".
        what: &'static str,
        /// The path, resolved.
        missing: PathBuf,
    },
}

impl DeploymentError {
    /// Whether the same call may succeed later without anybody changing a file.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        false
    }

    /// What to do about it, in a sentence for the person who wrote the file.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { key, known, .. } => Some(crate::explain::suggest(key, known)),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Missing { what: "component", .. } => {
                Some("build it first, or correct `component`; paths are relative to the manifest".to_owned())
            }
            Self::Missing { .. } => Some("paths are relative to the manifest".to_owned()),
            Self::Unreadable { .. } | Self::Syntax { .. } => None,
        }
    }

    /// The same error with a hint, where it can carry one.
    #[must_use]
    pub fn with_hint(mut self, advice: impl Into<String>) -> Self {
        if let Self::Refused { hint, .. } = &mut self {
            *hint = Some(advice.into());
        }
        self
    }
}
