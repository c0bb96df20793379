//! Which file lies at a path, told by what no copy of it carries over.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// One file on this machine, for as long as it is kept open or lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
    /// When it was made, in nanoseconds, where the file system says so: inodes are given anew.
    made_ns: u128,
}

impl FileId {
    /// The file that lies there now, if one does.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let found = std::fs::metadata(path).ok()?;
        let made = found.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let made_ns = made.map_or(0, |since| since.as_nanos());
        Some(Self { device: found.dev(), inode: found.ino(), made_ns })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}:{:x}", self.device, self.inode, self.made_ns)
    }
}

/// Where the write-ahead log of a database file lies.
pub(crate) fn log_of(file: &Path) -> PathBuf {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}
