//! The model of one handler's transactions at the brokers: what producers write is seen by readers when its
//! transaction is committed, together with the group's offsets, and never when it is not.
//!
//! Like Kafka since KIP-890 the brokers take nothing of a transaction that has ended, and like Kafka they
//! fence producers, each by its own epoch, and know nothing of partitions.

use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::Position;
use crate::database::Row;

/// Which transaction of which producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Stands for the transactional id.
    pub producer: u64,
    pub epoch: u64,
    pub transaction: u64,
}

/// A transaction that has not ended.
#[derive(Debug)]
struct Open {
    transaction: u64,
    begun_ms: u64,
    has_rows: bool,
    positions: Vec<Position>,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: u64,
    open: Option<Open>,
    /// The last one that has ended, and whether it was committed.
    ended: Option<(u64, bool)>,
}

/// A record in the log, seen or not.
#[derive(Debug)]
struct Written {
    row: Row,
    transaction: u64,
    is_committed: bool,
}

/// What a transaction's end comes to.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It is committed now.
    Committed(Vec<Row>),
    /// It had ended so before, or nothing was there to be thrown away.
    Already,
    Aborted,
    Fenced,
}

/// One handler's.
#[derive(Debug, Default)]
pub struct Transactions {
    producers: BTreeMap<u64, Producer>,
    /// In the order of the log.
    written: Vec<Written>,
}

impl Transactions {
    /// A producer takes the place of the one before of its name. What that one has open is thrown away.
    pub fn open(&mut self, producer: u64) -> u64 {
        let producer = self.producers.entry(producer).or_default();
        if let Some(open) = producer.open.take() {
            producer.ended = Some((open.transaction, false));
        }
        producer.epoch += 1;
        producer.epoch
    }

    /// The producer's transaction, begun if need be; none if it has ended, or the producer is another's now.
    fn current(&mut self, now_ms: u64, ticket: Ticket) -> Option<&mut Open> {
        let producer = self.producers.get_mut(&ticket.producer)?;
        let is_over = producer.ended.is_some_and(|(ended, _)| ended >= ticket.transaction);
        if producer.epoch != ticket.epoch || is_over {
            return None;
        }
        let begun = || Open {
            transaction: ticket.transaction,
            begun_ms: now_ms,
            has_rows: false,
            positions: Vec::new(),
        };
        Some(producer.open.get_or_insert_with(begun))
    }

    /// Writes a transaction's records, once. Answers whether the producer may.
    pub fn write(&mut self, now_ms: u64, ticket: Ticket, rows: &[Row]) -> bool {
        let Some(open) = self.current(now_ms, ticket) else { return false };
        if !std::mem::replace(&mut open.has_rows, true) {
            let transaction = ticket.transaction;
            self.written.extend(rows.iter().map(|row| Written {
                row: *row,
                transaction,
                is_committed: false,
            }));
        }
        true
    }

    /// Offsets that become the group's when the transaction is committed. Answers whether the producer may.
    pub fn include(&mut self, now_ms: u64, ticket: Ticket, positions: &[Position]) -> bool {
        let Some(open) = self.current(now_ms, ticket) else { return false };
        open.positions = positions.to_vec();
        true
    }

    /// Ends a transaction. What was included is handed to `store`.
    pub fn end(&mut self, ticket: Ticket, commits: bool, mut store: impl FnMut(&Position)) -> End {
        let Some(producer) = self.producers.get_mut(&ticket.producer) else { return End::Fenced };
        if producer.epoch != ticket.epoch {
            return End::Fenced;
        }
        match producer.ended {
            Some((ended, committed)) if ended == ticket.transaction => {
                return if committed == commits { End::Already } else { End::Fenced };
            }
            _ => {}
        }
        let Some(open) = producer.open.take_if(|open| open.transaction == ticket.transaction) else {
            return if commits { End::Fenced } else { End::Already };
        };
        producer.ended = Some((ticket.transaction, commits));
        if !commits {
            return End::Aborted;
        }
        open.positions.iter().for_each(&mut store);
        let mut rows = Vec::new();
        for written in self.written.iter_mut().filter(|written| written.transaction == ticket.transaction) {
            written.is_committed = true;
            rows.push(written.row);
        }
        End::Committed(rows)
    }

    /// Throws away transactions of which nothing was heard for too long, and fences their producers. Answers
    /// how many.
    pub fn tick(&mut self, now_ms: u64, limit_ms: u64) -> usize {
        let mut ended = 0;
        for producer in self.producers.values_mut() {
            if let Some(open) = producer.open.take_if(|open| now_ms >= open.begun_ms + limit_ms) {
                producer.ended = Some((open.transaction, false));
                producer.epoch += 1;
                ended += 1;
            }
        }
        ended
    }

    /// Whether what the group has of these partitions is about to change, or not.
    pub fn is_pending(&self, partitions: &BTreeSet<i32>) -> bool {
        let open = self.producers.values().filter_map(|producer| producer.open.as_ref());
        open.flat_map(|open| &open.positions).any(|position| partitions.contains(&position.partition))
    }

    /// What a reader of committed transactions sees, in the order of the log.
    pub fn seen(&self) -> Vec<Row> {
        self.written.iter().filter(|written| written.is_committed).map(|written| written.row).collect()
    }
}
