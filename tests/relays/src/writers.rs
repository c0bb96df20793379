//! The model of runs: writers whose transactions overlap, so that rows become visible in another order than
//! they are numbered in. One writer's transactions follow each other.

use std::collections::BTreeMap;

use bytes::Bytes;
use keylane_effects::{Letter, OutboxKind, OutboxRow, mail_row, record_row};
use keylane_engine::OutgoingRecord;
use keylane_sim::Draw;

use crate::broker::POISON;
use crate::plan::{Plan, TOPICS};
use crate::table::Table;

/// One row as it was written. After a restore a transaction is done once more, and its rows are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub is_mail: bool,
    /// The row's number, and for a record its topic and key.
    pub id: i64,
    pub topic: String,
    pub key: Option<Vec<u8>>,
    /// When its transaction began, and when it was committed, in milliseconds.
    pub begun_ms: u64,
    pub committed_ms: u64,
}

/// What has been committed, by the name of its row.
pub type Ledger = BTreeMap<String, Written>;

/// A transaction that is open.
#[derive(Debug, Clone)]
struct Open {
    begun_ms: u64,
    commits_at_ms: u64,
    rows: Vec<(i64, OutboxRow)>,
}

/// What a backup has of a writer: how far it is.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    transactions: u64,
}

/// One who writes rows.
#[derive(Debug)]
pub struct Writer {
    number: usize,
    draw: Draw,
    /// Committed transactions.
    transactions: u64,
    /// Raised with each transaction that is tried, so that no two rows have one name.
    tries: u64,
    open: Option<Open>,
    next_at_ms: u64,
}

impl Writer {
    pub fn new(number: usize, seed: u64) -> Self {
        let draw = Draw::of(&[seed, 5, number as u64]);
        Self { number, draw, transactions: 0, tries: 0, open: None, next_at_ms: 0 }
    }

    pub fn mark(&self) -> Mark {
        Mark { transactions: self.transactions }
    }

    /// The database was set back: what is open is gone, and what was committed since is done again.
    pub fn restore(&mut self, mark: Mark) {
        self.transactions = mark.transactions;
        self.open = None;
    }

    /// Whether none of its transactions is open.
    pub fn is_idle(&self) -> bool {
        self.open.is_none()
    }

    /// Begins or commits what is due. Both need a database that answers.
    pub fn turn(&mut self, plan: &Plan, now_ms: u64, is_over: bool, table: &mut Table, ledger: &mut Ledger) {
        if self.open.as_ref().is_some_and(|open| open.commits_at_ms <= now_ms) {
            let Some(open) = self.open.take() else { return };
            for (id, row) in &open.rows {
                let written = Written {
                    is_mail: row.kind == OutboxKind::Mail,
                    id: *id,
                    topic: row.topic.clone(),
                    key: row.key.clone(),
                    begun_ms: open.begun_ms,
                    committed_ms: now_ms,
                };
                ledger.insert(name_of_row(row), written);
            }
            table.commit(open.rows);
            self.transactions += 1;
            self.next_at_ms = now_ms + self.draw.between(1, plan.pause_ms);
        } else if self.open.is_none() && self.next_at_ms <= now_ms && !is_over {
            let count = self.draw.between(1, 4);
            self.tries += 1;
            let rows = (0..count).map(|place| (table.number(), self.row(plan, place))).collect();
            let commits_at_ms = now_ms + self.draw.between(0, plan.open_ms);
            self.open = Some(Open { begun_ms: now_ms, commits_at_ms, rows });
        }
    }

    fn row(&mut self, plan: &Plan, place: u64) -> OutboxRow {
        let (transaction, tries) = (self.transactions, self.tries);
        let name = format!("{}/{transaction}/{place}/{tries}", self.number);
        if self.draw.permille(plan.mail_permille) {
            let (from, to) = ("books@example.org".to_owned(), vec!["worker@example.org".to_owned()]);
            let letter = Letter { message_id: name, from, to, message: b"paid".to_vec() };
            return mail_row(transaction as i64, place as i32, &letter);
        }
        let key = match self.draw.permille(plan.shared_permille) {
            true => "all".to_owned(),
            false => format!("writer {}", self.number),
        };
        let mut value = if self.draw.permille(plan.poison_permille) { POISON.to_vec() } else { Vec::new() };
        value.extend(name.as_bytes());
        let record = OutgoingRecord {
            topic: self.draw.pick(&TOPICS).unwrap_or_default().to_owned(),
            key: (!self.draw.permille(100)).then(|| Bytes::from(key)),
            value: Some(Bytes::from(value)),
            headers: Vec::new(),
        };
        record_row(transaction as i64, place as i32, &record)
    }
}

/// What a record's value or a mail's Message-ID says that it is.
pub fn name_of(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_prefix(POISON).unwrap_or(value)).into_owned()
}

pub fn name_of_row(row: &OutboxRow) -> String {
    let said = match row.kind {
        OutboxKind::Mail => row.key.as_deref(),
        OutboxKind::Record => row.value.as_deref(),
    };
    name_of(said.unwrap_or_default())
}
