//! The model of a topic: partitions with records, holes where others were, and the markers of transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use crate::draw::Draw;
use crate::plan::LogPlan;

/// Whether a handler wants a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Wanted,
    Unwanted,
    Untyped,
}

/// A record of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    pub offset: i64,
    pub key: Option<u32>,
    pub kind: Kind,
    /// No attempt can handle it.
    pub poison: bool,
    /// What it says. Several records may say the same.
    pub content: u32,
}

/// One partition.
#[derive(Debug, Default)]
pub struct PartitionLog {
    /// In offset order.
    pub records: Vec<Record>,
    /// The offset of the next record, markers passed.
    pub end: i64,
    /// What compaction took away after it had been written.
    pub vanished: BTreeMap<i64, Record>,
}

impl PartitionLog {
    pub fn append(&mut self, draw: &mut Draw, plan: &LogPlan) {
        let hole =
            if draw.permille(plan.holes_permille) { draw.below(1 << plan.hole_bits) as i64 } else { 0 };
        let kind = match draw.below(1_000) {
            low if low < plan.untyped_permille => Kind::Untyped,
            low if low < plan.untyped_permille + plan.unwanted_permille => Kind::Unwanted,
            _ => Kind::Wanted,
        };
        let key = (!draw.permille(plan.keyless_permille)).then(|| draw.skewed(plan.keys, plan.skew) as u32);
        let offset = self.end + hole;
        let poison = draw.permille(plan.poison_permille);
        self.records.push(Record { offset, key, kind, poison, content: draw.below(20) as u32 });
        self.end = offset + 1;
        // A transaction's marker takes an offset too, at the log's very end as well.
        self.end += i64::from(draw.permille(plan.holes_permille));
    }

    /// Up to `most` records from `from` on, and the offset after the last one that was passed.
    pub fn read(&self, from: i64, most: usize) -> (Vec<Record>, i64) {
        let first = self.records.partition_point(|record| record.offset < from);
        let read: Vec<Record> = self.records.iter().skip(first).take(most).copied().collect();
        let all = first + read.len() == self.records.len();
        let next = if all { self.end } else { read.last().map_or(from, |record| record.offset + 1) };
        (read, next.max(from))
    }

    /// Takes records away that have a newer one of the same key.
    fn compact(&mut self, draw: &mut Draw) -> bool {
        let mut later = BTreeSet::new();
        let before = self.vanished.len();
        for record in self.records.iter().rev() {
            if let Some(key) = record.key
                && !later.insert(key)
                && draw.permille(300)
            {
                self.vanished.insert(record.offset, *record);
            }
        }
        let vanished = &self.vanished;
        self.records.retain(|record| !vanished.contains_key(&record.offset));
        self.vanished.len() > before
    }

    pub fn record(&self, offset: i64) -> Option<&Record> {
        let at = self.records.partition_point(|record| record.offset < offset);
        self.records.get(at).filter(|record| record.offset == offset)
    }
}

/// The topic. All groups of a world read the same.
#[derive(Debug, Clone)]
pub struct Topic(Arc<Mutex<Vec<PartitionLog>>>);

impl Topic {
    pub fn new(partitions: i32) -> Self {
        Self(Arc::new(Mutex::new((0..partitions).map(|_| PartitionLog::default()).collect())))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Vec<PartitionLog>) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    pub fn read(&self, partition: i32, from: i64, most: usize) -> (Vec<Record>, i64) {
        self.with(|logs| logs[partition as usize].read(from, most))
    }

    pub fn record(&self, partition: i32, offset: i64) -> Option<Record> {
        self.with(|logs| logs[partition as usize].record(offset).copied())
    }

    pub fn append(&self, draw: &mut Draw, plan: &LogPlan) {
        let partition = draw.skewed(plan.partitions as u64, plan.skew.min(1)) as usize;
        self.with(|logs| logs[partition].append(draw, plan));
    }

    /// Ends each partition with the marker of a transaction: an offset that no record follows.
    pub fn mark_ends(&self) {
        self.with(|logs| logs.iter_mut().for_each(|log| log.end += 1));
    }

    pub fn compact(&self, draw: &mut Draw) -> bool {
        self.with(|logs| logs.iter_mut().filter_map(|log| log.compact(draw).then_some(())).count() > 0)
    }

    pub fn ends(&self) -> Vec<i64> {
        self.with(|logs| logs.iter().map(|log| log.end).collect())
    }
}
