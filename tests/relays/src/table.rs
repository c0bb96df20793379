//! The model of a database with an outbox: its rows and the relay's own row. Each call is one transaction, and
//! they follow each other.

use std::collections::BTreeMap;
use std::time::Duration;

use keylane_effects::{
    Advance, Applicant, Batch, Dropped, Leased, MailEnded, Numbering, OutboxError, OutboxKind, OutboxRow,
    Refused, Standing, StoredRow, UnderWay,
};
use keylane_engine::Epoch;
use keylane_sim::Draw;

use crate::broker::POISON;
use crate::mistake::Mistake;

/// How far the clock of numberings may be ahead for a while.
const CLOCK_AHEAD_MS: u64 = 3_600_000;

/// A row that is visible.
#[derive(Debug, Clone)]
struct Row {
    row: OutboxRow,
    attempts: u32,
    /// When it may be tried again, if it was refused.
    waits_until_ms: Option<u64>,
}

/// All of it, as a backup has it.
#[derive(Debug, Clone)]
pub struct Table {
    next_id: i64,
    rows: BTreeMap<i64, Row>,
    host: String,
    until_ms: u64,
    epoch: Epoch,
    standing: Standing,
    /// The highest numbering that an operator wanted, or that Kafka had.
    next: i64,
    batch: Vec<i64>,
    /// The highest row that was ever taken; only a mistake looks at it.
    taken: i64,
    nonces: Draw,
}

impl Table {
    pub fn new(seed: u64) -> Self {
        Self {
            next_id: 1,
            rows: BTreeMap::new(),
            host: String::new(),
            until_ms: 0,
            epoch: Epoch { count: 0, nonce: 0 },
            standing: Standing { numbering: Numbering::Fresh, sent: 0, highest: 0 },
            next: 0,
            batch: Vec::new(),
            taken: 0,
            nonces: Draw::of(&[seed, 4]),
        }
    }

    /// The database as it was, except that chance does not repeat.
    pub fn restored(&self, backup: &Self) -> Self {
        Self { nonces: self.nonces.clone(), ..backup.clone() }
    }

    /// The number of a row that is written now and becomes visible with its transaction.
    pub fn number(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// A transaction of a run has been committed.
    pub fn commit(&mut self, rows: Vec<(i64, OutboxRow)>) {
        for (id, row) in rows {
            self.rows.insert(id, Row { row, attempts: 0, waits_until_ms: None });
        }
    }

    /// The rows that wait, as they were written.
    pub fn waiting(&self) -> impl Iterator<Item = &OutboxRow> {
        self.rows.values().map(|row| &row.row)
    }

    /// Whether another host than this one has the lease now.
    pub fn is_held_by_another(&self, host: &str, now_ms: u64) -> bool {
        self.until_ms > now_ms && self.host != host
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn lease(&mut self, applicant: &Applicant, now_ms: u64) -> Leased {
        if applicant.former != Some(self.epoch) && self.until_ms > now_ms {
            return Leased::Held { by: self.host.clone() };
        }
        self.raise();
        self.host.clone_from(&applicant.host);
        self.until_ms = later(now_ms, applicant.time);
        Leased::Ours(self.epoch)
    }

    fn raise(&mut self) {
        self.epoch = Epoch { count: self.epoch.count + 1, nonce: self.nonces.next() as i64 };
    }

    fn owned(&self, epoch: Epoch, mistake: Option<Mistake>) -> Result<(), OutboxError> {
        let is_owner = epoch == self.epoch || mistake == Some(Mistake::NoEpochCheck);
        if is_owner { Ok(()) } else { Err(OutboxError::NotOwner) }
    }

    pub fn renew(
        &mut self,
        epoch: Epoch,
        until_ms: u64,
        mistake: Option<Mistake>,
    ) -> Result<Standing, OutboxError> {
        self.owned(epoch, mistake)?;
        self.until_ms = until_ms;
        Ok(self.standing)
    }

    pub fn begin_numbering(
        &mut self,
        epoch: Epoch,
        numbering: i64,
        mistake: Option<Mistake>,
    ) -> Result<(), OutboxError> {
        self.owned(epoch, mistake)?;
        self.standing = Standing { numbering: Numbering::Begun(numbering), sent: 0, highest: 0 };
        self.batch.clear();
        Ok(())
    }

    pub fn know_numbering(
        &mut self,
        epoch: Epoch,
        numbering: i64,
        mistake: Option<Mistake>,
    ) -> Result<(), OutboxError> {
        self.owned(epoch, mistake)?;
        if mistake == Some(Mistake::NumberingsByTheClock) {
            return Ok(());
        }
        self.next = self.next.max(numbering);
        if let Numbering::Reset { former, .. } = self.standing.numbering {
            self.standing.numbering = Numbering::Begun(former);
        }
        Ok(())
    }

    pub fn advance(
        &mut self,
        epoch: Epoch,
        step: &Advance,
        now_ms: u64,
        mistake: Option<Mistake>,
    ) -> Result<Batch, OutboxError> {
        self.owned(epoch, mistake)?;
        if self.standing != step.expected && mistake != Some(Mistake::NoComparison) {
            return Err(OutboxError::SetBack { left: step.expected, found: self.standing });
        }
        if step.under_way == UnderWay::Sent {
            for id in std::mem::take(&mut self.batch) {
                self.rows.remove(&id);
            }
            self.standing.sent = self.standing.highest;
        }
        self.refuse(&step.refused, now_ms);
        self.batch = self.ready(now_ms, &step.paused, step.rows, mistake);
        if !self.batch.is_empty() {
            let chance =
                if mistake == Some(Mistake::BatchesInSequence) { 0 } else { self.nonces.below(1 << 24) };
            self.standing.highest += 1 + chance as i64;
        }
        self.taken = self.batch.last().copied().unwrap_or(0).max(self.taken);
        self.until_ms = later(now_ms, step.lease);
        Ok(Batch { standing: self.standing, rows: self.stored(&self.batch) })
    }

    fn stored(&self, ids: &[i64]) -> Vec<StoredRow> {
        let stored = |id: &i64| {
            let row = self.rows.get(id)?;
            Some(StoredRow { id: *id, attempts: row.attempts, row: row.row.clone() })
        };
        ids.iter().filter_map(stored).collect()
    }

    fn refuse(&mut self, refused: &[Refused], now_ms: u64) {
        for Refused { id, wait, .. } in refused {
            if let Some(row) = self.rows.get_mut(id) {
                row.attempts += 1;
                row.waits_until_ms = wait.map(|wait| later(now_ms, wait)).or(row.waits_until_ms);
            }
        }
    }

    /// The oldest records that may be sent: of no paused topic, and with none of their key before them that waits.
    pub fn ready(&self, now_ms: u64, paused: &[String], most: usize, mistake: Option<Mistake>) -> Vec<i64> {
        let mut held = std::collections::BTreeSet::new();
        let mut found = Vec::new();
        let cursor = if mistake == Some(Mistake::BySequence) { self.taken } else { 0 };
        for (id, Row { row, waits_until_ms, .. }) in self.rows.range(cursor + 1..) {
            if row.kind != OutboxKind::Record {
                continue;
            }
            let lane = (&row.topic, &row.key);
            if waits_until_ms.is_some_and(|until| until > now_ms) {
                held.insert(lane);
            }
            let is_held = held.contains(&lane) && row.key.is_some();
            let waits = waits_until_ms.is_some_and(|until| until > now_ms);
            let is_held = if mistake == Some(Mistake::KeysDoNotWait) { waits } else { is_held || waits };
            if !is_held && !paused.contains(&row.topic) && found.len() < most {
                found.push(*id);
            }
        }
        found
    }

    pub fn has_mails(&self, now_ms: u64) -> bool {
        !self.ready_mails(now_ms, 1).is_empty()
    }

    fn ready_mails(&self, now_ms: u64, most: usize) -> Vec<i64> {
        let is_ready = |row: &Row| {
            row.row.kind == OutboxKind::Mail && row.waits_until_ms.is_none_or(|until| until <= now_ms)
        };
        self.rows.iter().filter(|(_, row)| is_ready(row)).map(|(id, _)| *id).take(most).collect()
    }

    pub fn mails(
        &self,
        epoch: Epoch,
        rows: usize,
        now_ms: u64,
        mistake: Option<Mistake>,
    ) -> Result<Vec<StoredRow>, OutboxError> {
        self.owned(epoch, mistake)?;
        Ok(self.stored(&self.ready_mails(now_ms, rows)))
    }

    pub fn mails_ended(
        &mut self,
        epoch: Epoch,
        ended: &[MailEnded],
        now_ms: u64,
        mistake: Option<Mistake>,
    ) -> Result<(), OutboxError> {
        self.owned(epoch, mistake)?;
        for mail in ended {
            let is_same = |row: &Row| {
                row.row.kind == OutboxKind::Mail && row.row.key.as_ref() == Some(&mail.message_id)
            };
            if !self
                .rows
                .get(&mail.id)
                .is_some_and(|row| is_same(row) || mistake == Some(Mistake::MailsByNumber))
            {
                continue;
            }
            match &mail.refused {
                None => drop(self.rows.remove(&mail.id)),
                Some(refused) => self.refuse(std::slice::from_ref(refused), now_ms),
            }
        }
        Ok(())
    }

    /// An operator drops what was refused, as `keylane outbox drop` does.
    pub fn drop_refused(&mut self) -> (Dropped, Vec<OutboxRow>) {
        let is_bad = |row: &Row| {
            row.waits_until_ms.is_some()
                && row.row.kind == OutboxKind::Record
                && row.row.value.as_ref().is_some_and(|value| value.starts_with(POISON))
        };
        let refused: Vec<i64> = self.rows.iter().filter(|(_, row)| is_bad(row)).map(|(id, _)| *id).collect();
        let (under_way, free): (Vec<i64>, Vec<i64>) =
            refused.into_iter().partition(|id| self.batch.contains(id));
        let rows: Vec<OutboxRow> =
            free.iter().filter_map(|id| self.rows.remove(id)).map(|row| row.row).collect();
        (Dropped { dropped: free.len() as u64, under_way }, rows)
    }

    /// An operator has a new numbering begun, as `keylane outbox reset` does, by a clock that may be ahead.
    pub fn reset(&mut self, now_ms: u64) {
        let former = match self.standing.numbering {
            Numbering::Begun(former) | Numbering::Reset { former, .. } => former,
            Numbering::Fresh => 0,
        };
        let ahead = if self.nonces.below(3) == 0 { self.nonces.below(CLOCK_AHEAD_MS) } else { 0 };
        let clock = i64::try_from(now_ms + ahead).unwrap_or(i64::MAX);
        let next = clock.max(former + 1).max(self.next + 1);
        self.next = next;
        self.standing.numbering = Numbering::Reset { former, next };
        self.until_ms = 0;
        self.raise();
    }
}

pub fn later(now_ms: u64, time: Duration) -> u64 {
    now_ms + time.as_millis() as u64
}
