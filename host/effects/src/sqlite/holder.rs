//! Who holds the writer: a stopped host holds the others up, and they must be able to name it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The byte of the shared-memory file that a writer in WAL mode locks (`WAL_WRITE_LOCK`, in SQLite's
/// documentation of the WAL-index format).
const WRITE_LOCK_BYTE: u64 = 120;

/// The process that holds the writer of this database, as the kernel lists its locks. None where there is
/// none, where the holder is this process itself, or where the system has no such list.
pub(crate) fn process(file: &Path) -> Option<u32> {
    let mut shared_memory = file.as_os_str().to_owned();
    shared_memory.push("-shm");
    let inode = std::fs::metadata(shared_memory).ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| holder(line, &inode)).filter(|pid| *pid != std::process::id())
}

/// `1: POSIX  ADVISORY  WRITE 4242 fd:00:1234 120 120`: kind, process, file, first and last byte.
fn holder(line: &str, inode: &str) -> Option<u32> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [_, "POSIX", _, "WRITE", process, place, first, last] = words.as_slice() else { return None };
    let range = first.parse::<u64>().ok()?..=last.parse::<u64>().unwrap_or(u64::MAX);
    let same = place.rsplit(':').next() == Some(inode) && range.contains(&WRITE_LOCK_BYTE);
    same.then(|| process.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_the_write_lock_is_read_from_the_kernels_list() {
        let line = "7: POSIX  ADVISORY  WRITE 4242 fd:00:1234 120 120";
        assert_eq!(holder(line, "1234"), Some(4242));
        assert_eq!(holder(line, "123"), None);
        assert_eq!(holder("7: POSIX  ADVISORY  READ 4242 fd:00:1234 124 124", "1234"), None);
        assert_eq!(holder("7: -> POSIX  ADVISORY  WRITE 4242 fd:00:1234 120 120", "1234"), None);
        assert_eq!(holder("8: POSIX ADVISORY WRITE 5 fd:00:1234 0 EOF", "1234"), Some(5));
    }
}
