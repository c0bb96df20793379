//! One partition: its batches in offset order, what its producers wrote last, its transactions, and its file.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;

use crate::batch::{self, BatchFault, BatchHeader};
use crate::error::BrokerError;
use crate::producers::{Producers, Sequence};
use crate::store::LogFile;
use crate::unstable::{Aborted, Unstable};

/// How far into the future a record's timestamp may lie, in milliseconds (Kafka's default).
const FUTURE_TIMESTAMP_MS: i64 = 3_600_000;

#[derive(Debug)]
struct StoredBatch {
    last_offset: i64,
    max_timestamp: i64,
    bytes: Bytes,
}

/// A partition's log. The owner is [`State`](crate::state::State), under its lock.
#[derive(Debug)]
pub(crate) struct Partition {
    batches: Vec<StoredBatch>,
    /// The low watermark: records below it were deleted, though a batch that holds later ones as well
    /// still has them.
    start_offset: i64,
    end_offset: i64,
    bytes: u64,
    producers: Producers,
    unstable: Unstable,
    /// `None` in a broker that keeps everything in memory.
    file: Option<LogFile>,
}

/// Whole batches for a reader.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) records: Bytes,
    /// For a reader of committed records: the aborted transactions among them.
    pub(crate) aborted: Vec<Aborted>,
}

/// Why a batch was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One of Kafka's own errors.
    Kafka(ResponseError),
    /// A byte limit of this broker is reached.
    Full,
}

/// What became of a batch: its base offset, the partition's first offset and how many bytes the log grew by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    pub(crate) start_offset: i64,
    pub(crate) grown: u64,
}

impl Partition {
    /// An empty partition.
    pub(crate) fn new(file: Option<LogFile>, producer_limit: usize) -> Self {
        Self {
            batches: Vec::new(),
            start_offset: 0,
            end_offset: 0,
            bytes: 0,
            producers: Producers::new(producer_limit),
            unstable: Unstable::default(),
            file,
        }
    }

    /// The partition that a file holds; a torn end is cut off the file, and what lies below the low
    /// watermark is left out.
    pub(crate) fn load(file: LogFile, producer_limit: usize, start_offset: i64) -> Result<Self, BrokerError> {
        let mut partition = Self::new(None, producer_limit);
        partition.start_offset = start_offset;
        partition.file = Some(file.load(|header, bytes| partition.restore(header, bytes))?);
        partition.end_offset = partition.end_offset.max(start_offset);
        partition.unstable.deleted_before(start_offset);
        partition.drop_deleted();
        Ok(partition)
    }

    fn restore(&mut self, header: &BatchHeader, bytes: Bytes) -> Result<(), &'static str> {
        if self.batches.is_empty() && (0..=self.start_offset).contains(&header.base_offset) {
            self.end_offset = header.base_offset;
        }
        if header.base_offset != self.end_offset {
            return Err("its offset does not follow the batch before");
        }
        self.push(header, bytes);
        Ok(())
    }

    fn push(&mut self, header: &BatchHeader, bytes: Bytes) {
        let base_offset = self.end_offset;
        if header.is_marker() {
            self.producers.ended(header.producer_id, header.producer_epoch);
            self.unstable.ended(header.producer_id, batch::marks_commit(&bytes), base_offset);
        } else {
            self.producers.remember(header, base_offset);
            if header.is_transactional() {
                self.unstable.written(header.producer_id, base_offset);
            }
        }
        let last_offset = base_offset + i64::from(header.last_offset_delta);
        self.end_offset = last_offset + 1;
        self.bytes += bytes.len() as u64;
        let max_timestamp = header.max_timestamp;
        self.batches.push(StoredBatch { last_offset, max_timestamp, bytes });
    }

    /// Stores one checked batch behind the last one. Kafka takes one batch per partition and request.
    pub(crate) fn append(
        &mut self,
        header: &BatchHeader,
        data: &[u8],
        room: u64,
    ) -> Result<Appended, Refusal> {
        if !header.is_transactional() && self.is_open(header.producer_id) {
            return Err(Refusal::Kafka(ResponseError::InvalidTxnState));
        }
        match self.producers.judge(header).map_err(Refusal::Kafka)? {
            Sequence::Repeated(base_offset) => {
                return Ok(Appended { base_offset, start_offset: self.start_offset, grown: 0 });
            }
            Sequence::Next => {}
        }
        if data.len() as u64 > room {
            return Err(Refusal::Full);
        }
        self.store(header, data)
    }

    /// Stores the marker that ends a producer's transaction here. No limit keeps it out: without it readers
    /// of committed records would stand still for ever.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: i64,
        epoch: i16,
        commit: bool,
        now_ms: i64,
    ) -> Result<Appended, Refusal> {
        let marker = batch::marker(producer_id, epoch, commit, now_ms);
        let header = batch::check(&marker).map_err(refusal)?;
        self.store(&header, &marker)
    }

    fn store(&mut self, header: &BatchHeader, data: &[u8]) -> Result<Appended, Refusal> {
        let base_offset = self.end_offset;
        let placed = batch::place(data, base_offset);
        if let Some(file) = &mut self.file {
            file.append(&placed).map_err(|_logged| Refusal::Kafka(ResponseError::KafkaStorageError))?;
        }
        let grown = placed.len() as u64;
        self.push(header, placed);
        Ok(Appended { base_offset, start_offset: self.start_offset, grown })
    }

    /// Whether this producer has records of an open transaction here.
    pub(crate) fn is_open(&self, producer_id: i64) -> bool {
        self.unstable.is_open(producer_id)
    }

    /// The producers with an open transaction here, each with the epoch that it wrote with last.
    pub(crate) fn open_producers(&self) -> Vec<(i64, i16)> {
        let known = |id: i64| (id, self.producers.epoch(id).unwrap_or(0));
        self.unstable.producers().into_iter().map(known).collect()
    }

    /// Deletes the records below an offset between start and end. Answers how many bytes that freed.
    pub(crate) fn delete_before(&mut self, offset: i64) -> u64 {
        self.start_offset = offset.clamp(self.start_offset, self.end_offset);
        let before = self.bytes;
        self.unstable.deleted_before(self.start_offset);
        self.drop_deleted();
        before - self.bytes
    }

    /// Lets go of the batches that lie below the low watermark as a whole, in the file too.
    fn drop_deleted(&mut self) {
        let gone = self.batches.partition_point(|batch| batch.last_offset < self.start_offset);
        if gone == 0 {
            return;
        }
        self.bytes -= self.batches.drain(..gone).map(|batch| batch.bytes.len() as u64).sum::<u64>();
        if let Some(file) = &mut self.file {
            file.replace(self.batches.iter().map(|batch| &batch.bytes));
        }
    }

    /// The first offset.
    pub(crate) fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset the next record will get.
    pub(crate) fn end_offset(&self) -> i64 {
        self.end_offset
    }

    /// Where a reader of committed records has to stop: before the first record of an open transaction.
    pub(crate) fn stable_offset(&self) -> i64 {
        self.unstable.first().map_or(self.end_offset, |first| first.max(self.start_offset))
    }

    /// Bytes of all batches.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whole batches from the one that holds `offset` on, up to `max_bytes`; with `at_least_one`
    /// the first batch is given even if it is larger, or a reader could never pass it. A reader of
    /// `committed` records gets none of an open transaction, and none behind its first.
    /// `None` if the offset is not between start and end.
    pub(crate) fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        at_least_one: bool,
        committed: bool,
    ) -> Option<Read> {
        if offset < self.start_offset() || offset > self.end_offset {
            return None;
        }
        let before = if committed { self.stable_offset() } else { self.end_offset };
        let first = self.batches.partition_point(|b| b.last_offset < offset);
        let mut size = 0;
        let mut next = offset;
        let mut chosen: Vec<&Bytes> = Vec::new();
        for StoredBatch { bytes, last_offset, .. } in self.batches.get(first..).unwrap_or_default() {
            let forced = at_least_one && chosen.is_empty();
            if *last_offset >= before || (!forced && size + bytes.len() > max_bytes) {
                break;
            }
            size += bytes.len();
            next = last_offset + 1;
            chosen.push(bytes);
        }
        let aborted = if committed { self.unstable.aborted(offset, next) } else { Vec::new() };
        let records = match chosen.as_slice() {
            [] => Bytes::new(),
            [one] => Bytes::clone(one),
            many => {
                let mut all = BytesMut::with_capacity(size);
                many.iter().for_each(|b| all.extend_from_slice(b));
                all.freeze()
            }
        };
        Some(Read { records, aborted })
    }

    /// The first record at or after `timestamp_ms`: (offset, timestamp).
    pub(crate) fn offset_at(&self, timestamp_ms: i64) -> Option<(i64, i64)> {
        let candidates = self.batches.iter().filter(|b| b.max_timestamp >= timestamp_ms);
        let mut found = candidates.filter_map(|b| batch::first_at(&b.bytes, timestamp_ms, self.start_offset));
        found.next()
    }
}

/// Checks a batch that a client sends to a topic that takes batches of up to `message_bytes`.
pub(crate) fn inspect(data: &[u8], message_bytes: usize, now_ms: i64) -> Result<BatchHeader, Refusal> {
    if data.len() > message_bytes {
        return Err(Refusal::Kafka(ResponseError::MessageTooLarge));
    }
    let header = batch::check(data).map_err(refusal)?;
    if header.is_marker() {
        return Err(Refusal::Kafka(ResponseError::InvalidRecord));
    }
    if header.max_timestamp > now_ms.saturating_add(FUTURE_TIMESTAMP_MS) {
        return Err(Refusal::Kafka(ResponseError::InvalidTimestamp));
    }
    Ok(header)
}

fn refusal(fault: BatchFault) -> Refusal {
    Refusal::Kafka(match fault {
        BatchFault::Short | BatchFault::Checksum => ResponseError::CorruptMessage,
        BatchFault::Invalid => ResponseError::InvalidRecord,
    })
}
