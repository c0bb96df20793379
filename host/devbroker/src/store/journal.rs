//! The journal of committed offsets, low watermarks, reserved producer ids and transactions.
//!
//! Each entry is: length (u32), checksum (u32), body. It is rewritten with what still counts when
//! it has grown, so it stays within a few times the live offsets.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::{Buf, BufMut};
use uuid::Uuid;

use crate::error::BrokerError;
use crate::transaction::{self, Phase};

/// A journal smaller than this is never rewritten, in bytes.
const REWRITE_BYTES: u64 = 16 << 20;
/// A journal is rewritten when it is this many times as long as after the last rewrite.
const REWRITE_FACTOR: u64 = 4;
const ENTRY_HEADER_BYTES: usize = 8;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// An offset was committed.
    Committed { group: String, topic: String, partition: i32, offset: i64, metadata: String },
    /// A group was deleted with its offsets.
    GroupDeleted { group: String },
    /// A topic was deleted, and every group's offsets in it.
    TopicDeleted { topic: String },
    /// Producer ids below this may have been given out.
    ProducerIds { below: i64 },
    /// The records of a partition below this offset were deleted.
    RecordsDeleted { topic: Uuid, partition: i32, before: i64 },
    /// An offset was given in a transaction.
    Pending { producer_id: i64, group: String, topic: String, partition: i32, offset: i64, metadata: String },
    /// What became of a transactional producer. Where that is an end, the offsets that it gave hold from this
    /// entry on, or are forgotten.
    Transaction { name: String, entry: transaction::Entry },
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    length: u64,
    rewrite_at: u64,
}

impl Journal {
    /// Reads what an earlier run left; a torn end is ignored and goes with the next rewrite.
    pub(crate) fn read(path: &Path, mut visit: impl FnMut(Entry)) -> Result<(), BrokerError> {
        if !path.exists() {
            return Ok(());
        }
        let data = std::fs::read(path).map_err(|e| BrokerError::data(path, e))?;
        let mut rest = data.as_slice();
        while !rest.is_empty() {
            let at = (data.len() - rest.len()) as u64;
            match next(&mut rest) {
                Some(Ok(entry)) => visit(entry),
                Some(Err(why)) => return Err(BrokerError::Damaged { path: path.to_owned(), at, why }),
                None => {
                    tracing::warn!(file = %path.display(), at, "ignored the torn end of the offsets journal");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Writes a new journal with `entries` in place of the old one and opens it.
    pub(crate) fn write(path: &Path, entries: &[Entry]) -> std::io::Result<Self> {
        let mut text = Vec::new();
        entries.iter().for_each(|entry| put(&mut text, entry));
        let draft = path.with_extension("new");
        std::fs::write(&draft, &text)?;
        std::fs::rename(&draft, path)?;
        let file = OpenOptions::new().append(true).open(path)?;
        let length = text.len() as u64;
        let rewrite_at = REWRITE_BYTES.max(length.saturating_mul(REWRITE_FACTOR));
        Ok(Self { path: path.to_owned(), file, length, rewrite_at })
    }

    /// Adds an entry. A failed write is taken back, so that no half entry stands before the next.
    pub(crate) fn append(&mut self, entry: &Entry) -> std::io::Result<()> {
        let mut text = Vec::new();
        put(&mut text, entry);
        if let Err(error) = self.file.write_all(&text) {
            tracing::error!(file = %self.path.display(), %error, "cannot write the offsets journal");
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += text.len() as u64;
        Ok(())
    }

    /// Where it lies, if it has grown enough to be rewritten.
    pub(crate) fn rewrite_due(&self) -> Option<&Path> {
        (self.length >= self.rewrite_at).then_some(self.path.as_path())
    }
}

fn put(out: &mut Vec<u8>, entry: &Entry) {
    let mut body = Vec::new();
    match entry {
        Entry::Committed { group, topic, partition, offset, metadata } => {
            body.put_u8(1);
            [group, topic, metadata].iter().for_each(|text| put_text(&mut body, text));
            body.put_i32(*partition);
            body.put_i64(*offset);
        }
        Entry::GroupDeleted { group } => {
            body.put_u8(2);
            put_text(&mut body, group);
        }
        Entry::TopicDeleted { topic } => {
            body.put_u8(3);
            put_text(&mut body, topic);
        }
        Entry::ProducerIds { below } => {
            body.put_u8(4);
            body.put_i64(*below);
        }
        Entry::RecordsDeleted { topic, partition, before } => {
            body.put_u8(5);
            body.put_u128(topic.as_u128());
            body.put_i32(*partition);
            body.put_i64(*before);
        }
        Entry::Pending { producer_id, group, topic, partition, offset, metadata } => {
            body.put_u8(6);
            [group, topic, metadata].iter().for_each(|text| put_text(&mut body, text));
            body.put_i32(*partition);
            body.put_i64(*offset);
            body.put_i64(*producer_id);
        }
        Entry::Transaction { name, entry } => {
            body.put_u8(7);
            put_text(&mut body, name);
            put_transaction(&mut body, entry);
        }
    }
    out.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
    out.put_u32(crc32c::crc32c(&body));
    out.put_slice(&body);
}

fn put_transaction(out: &mut Vec<u8>, entry: &transaction::Entry) {
    out.put_u8(match entry.phase {
        Phase::Empty => 0,
        Phase::Open => 1,
        Phase::Committed => 2,
        Phase::Aborted => 3,
    });
    out.put_i64(entry.producer_id);
    out.put_i16(entry.epoch);
    out.put_i16(entry.last_epoch);
    out.put_i32(entry.timeout_ms);
    out.put_i64(entry.started_ms);
    out.put_u32(u32::try_from(entry.partitions.len()).unwrap_or(u32::MAX));
    for (topic, partition) in &entry.partitions {
        out.put_u128(topic.as_u128());
        out.put_i32(*partition);
    }
    out.put_u32(u32::try_from(entry.groups.len()).unwrap_or(u32::MAX));
    entry.groups.iter().for_each(|group| put_text(out, group));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
    out.put_slice(text.as_bytes());
}

/// The next entry; `None` at a torn end.
fn next(rest: &mut &[u8]) -> Option<Result<Entry, &'static str>> {
    let (mut header, after) = rest.split_at_checked(ENTRY_HEADER_BYTES)?;
    let (length, checksum) = (header.get_u32() as usize, header.get_u32());
    let (body, after) = after.split_at_checked(length)?;
    *rest = after;
    if crc32c::crc32c(body) != checksum {
        return if after.is_empty() { None } else { Some(Err("an entry is broken and more follow it")) };
    }
    Some(parse(body).ok_or("an entry of an unknown kind"))
}

fn parse(mut body: &[u8]) -> Option<Entry> {
    let body = &mut body;
    match body.try_get_u8().ok()? {
        1 => {
            let (group, topic, metadata) = (text(body)?, text(body)?, text(body)?);
            let (partition, offset) = (body.try_get_i32().ok()?, body.try_get_i64().ok()?);
            Some(Entry::Committed { group, topic, partition, offset, metadata })
        }
        2 => Some(Entry::GroupDeleted { group: text(body)? }),
        3 => Some(Entry::TopicDeleted { topic: text(body)? }),
        4 => Some(Entry::ProducerIds { below: body.try_get_i64().ok()? }),
        5 => {
            let topic = Uuid::from_u128(body.try_get_u128().ok()?);
            let (partition, before) = (body.try_get_i32().ok()?, body.try_get_i64().ok()?);
            Some(Entry::RecordsDeleted { topic, partition, before })
        }
        6 => {
            let (group, topic, metadata) = (text(body)?, text(body)?, text(body)?);
            let (partition, offset) = (body.try_get_i32().ok()?, body.try_get_i64().ok()?);
            let producer_id = body.try_get_i64().ok()?;
            Some(Entry::Pending { producer_id, group, topic, partition, offset, metadata })
        }
        7 => Some(Entry::Transaction { name: text(body)?, entry: transaction(body)? }),
        _ => None,
    }
}

fn transaction(body: &mut &[u8]) -> Option<transaction::Entry> {
    let phase = match body.try_get_u8().ok()? {
        0 => Phase::Empty,
        1 => Phase::Open,
        2 => Phase::Committed,
        3 => Phase::Aborted,
        _ => return None,
    };
    let mut entry = transaction::Entry::new(body.try_get_i64().ok()?, 0);
    entry.phase = phase;
    entry.epoch = body.try_get_i16().ok()?;
    entry.last_epoch = body.try_get_i16().ok()?;
    entry.timeout_ms = body.try_get_i32().ok()?;
    entry.started_ms = body.try_get_i64().ok()?;
    for _ in 0..body.try_get_u32().ok()? {
        let topic = Uuid::from_u128(body.try_get_u128().ok()?);
        entry.partitions.insert((topic, body.try_get_i32().ok()?));
    }
    for _ in 0..body.try_get_u32().ok()? {
        entry.groups.insert(text(body)?);
    }
    Some(entry)
}

fn text(body: &mut &[u8]) -> Option<String> {
    let length = body.try_get_u32().ok()? as usize;
    let (text, rest) = body.split_at_checked(length)?;
    *body = rest;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
