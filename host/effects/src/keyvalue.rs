//! Values by key, in a table of the host's own beside the handler's: what a run asks of it, and what it is
//! answered. A guest's SQL does not reach that table.

use crate::error::StatementError;

/// One request. Keys and values are any bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The bucket that the keys belong to.
    pub bucket: String,
    /// What is asked.
    pub ask: KeyAsk,
}

/// What is asked of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyAsk {
    /// The values of those of these keys that have one. They may not weigh more than this together, in bytes.
    Get {
        /// The keys.
        keys: Vec<Vec<u8>>,
        /// The values are about to be changed by what they are: nobody else may change them until the run ends, or the
        /// run is done again.
        for_change: bool,
        /// The most that the values may weigh together, in bytes.
        bytes_max: usize,
    },
    /// Sets values. No key may stand there twice.
    Put(Vec<(Vec<u8>, Vec<u8>)>),
    /// Deletes the values of these keys.
    Delete(Vec<Vec<u8>>),
    /// The keys after this one, in the order of their bytes.
    List {
        /// The last key that is known; none begins with the first.
        after: Option<Vec<u8>>,
        /// The most keys to answer.
        keys_max: usize,
    },
}

/// A key with its value; a list of keys has no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

pub(crate) fn too_much(bytes_max: usize) -> StatementError {
    StatementError::Limit(format!("the values weigh more than {bytes_max} bytes"))
}
