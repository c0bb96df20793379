//! The log file of one partition: batches one after the other, exactly as they are fetched.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::Bytes;

use crate::batch::{self, BatchFault, BatchHeader};
use crate::error::BrokerError;

/// A log file. It is opened at its first write, so that idle partitions cost no descriptor.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    /// Bytes that are known to be whole batches.
    length: u64,
}

impl LogFile {
    /// The file at `path`, which need not exist yet.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, file: None, length: 0 }
    }

    /// Hands every batch to `restore` and cuts a torn end.
    pub(crate) fn load(
        mut self,
        mut restore: impl FnMut(&BatchHeader, Bytes) -> Result<(), &'static str>,
    ) -> Result<Self, BrokerError> {
        if !self.path.exists() {
            return Ok(self);
        }
        let data = std::fs::read(&self.path).map_err(|e| BrokerError::data(&self.path, e))?;
        let mut at = 0;
        while at < data.len() {
            let rest = data.get(at..).unwrap_or_default();
            let Some((header, batch)) = self.next_batch(rest, at as u64)? else {
                self.cut(at as u64, rest.len())?;
                break;
            };
            at += batch.len();
            restore(&header, batch).map_err(|why| self.damaged(self.length, why))?;
            self.length = at as u64;
        }
        Ok(self)
    }

    /// The next batch; `None` if the rest of the file is a torn end.
    fn next_batch(&self, rest: &[u8], at: u64) -> Result<Option<(BatchHeader, Bytes)>, BrokerError> {
        let whole = match batch::length(rest) {
            Ok(whole) => whole,
            Err(BatchFault::Short) => return Ok(None),
            // A system that lost power may have counted bytes to the file that it never wrote.
            Err(_fault) if rest.iter().all(|byte| *byte == 0) => return Ok(None),
            Err(_fault) => return Err(self.damaged(at, "the batch has no possible length")),
        };
        if whole > rest.len() {
            return Ok(None);
        }
        // A copy, so that one batch does not keep the whole file in memory.
        let bytes = Bytes::copy_from_slice(rest.get(..whole).unwrap_or_default());
        match batch::check(&bytes) {
            Ok(header) => Ok(Some((header, bytes))),
            // Bytes of the last batch that never reached the disk read as zeros.
            Err(_fault) if whole == rest.len() => Ok(None),
            Err(_fault) => Err(self.damaged(at, "the batch is broken and more follow it")),
        }
    }

    fn cut(&self, length: u64, torn: usize) -> Result<(), BrokerError> {
        tracing::warn!(file = %self.path.display(), torn_bytes = torn, "cut the torn end of a partition's log");
        let cut = || OpenOptions::new().write(true).open(&self.path)?.set_len(length);
        cut().map_err(|e| BrokerError::data(&self.path, e))
    }

    /// Puts the file's batches from now on in its place, so that removed ones free their room on the disk.
    /// Where that fails the old file stays as it was: its first batches lie below the low watermark, which the
    /// journal knows, and are left out at the next start.
    pub(crate) fn replace<'a>(&mut self, batches: impl Iterator<Item = &'a Bytes>) {
        let draft = self.path.with_extension("new");
        let mut length = 0;
        let write = || -> std::io::Result<()> {
            let mut file = std::io::BufWriter::new(File::create(&draft)?);
            for batch in batches {
                file.write_all(batch)?;
                length += batch.len() as u64;
            }
            file.flush()?;
            std::fs::rename(&draft, &self.path)
        };
        match write() {
            Ok(()) => {
                self.file = None;
                self.length = length;
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "cannot free the room of deleted records");
            }
        }
    }

    fn damaged(&self, at: u64, why: &'static str) -> BrokerError {
        BrokerError::Damaged { path: self.path.clone(), at, why }
    }

    /// Writes one batch at the end. A failed write is taken back, so that no half batch stands
    /// before the next one; it is logged here.
    pub(crate) fn append(&mut self, batch: &[u8]) -> std::io::Result<()> {
        let result = self.write(batch);
        match &result {
            Ok(()) => self.length += batch.len() as u64,
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "cannot write a batch; it is refused");
                // Opened again at the next write, which starts by cutting at the known length.
                self.file = None;
            }
        }
        result
    }

    fn write(&mut self, batch: &[u8]) -> std::io::Result<()> {
        if self.file.is_none() {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.path)?;
            file.set_len(self.length)?;
            file.seek(SeekFrom::Start(self.length))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(batch),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
