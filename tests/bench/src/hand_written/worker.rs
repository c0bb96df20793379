//! One worker: a connection, and one transaction after another.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use tokio::sync::{Notify, mpsc};

use super::{Done, Writer};
use crate::books::{ACCOUNT, Balance, CHANGE, ENTRY, EntryMade, HANDLED, HOUSE, OUTBOX};
use crate::connection::{Connection, Sql};

/// A record.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

/// A worker.
pub(super) struct Worker {
    pub(super) connection: Connection,
    pub(super) writer: Writer,
    /// Wakes the one that empties the outbox.
    pub(super) committed: Arc<Notify>,
}

impl Worker {
    /// Handles records until there are no more, or one fails.
    pub(super) async fn work(mut self, mut delivered: mpsc::Receiver<Delivered>, done: Sender<Done>) {
        while let Some(record) = delivered.recv().await {
            let handled = self.handle(&record).await;
            let failed = handled.is_err();
            let place = handled.map(|()| (record.partition, record.offset));
            // Nobody listens any more when another has failed before.
            if done.send(place).is_err() || failed {
                return;
            }
        }
    }

    async fn handle(&mut self, record: &Delivered) -> Result<()> {
        let made: EntryMade = serde_json::from_slice(&record.value)?;
        let turn = match &self.writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        let begin = if turn.is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        self.connection.execute(begin, &[]).await?;
        self.book(record, &made).await?;
        self.connection.execute("COMMIT", &[]).await?;
        drop(turn);
        self.committed.notify_one();
        Ok(())
    }

    async fn book(&mut self, record: &Delivered, made: &EntryMade) -> Result<()> {
        let (partition, offset) = (Sql::Number(record.partition.into()), Sql::Number(record.offset));
        let (account, amount) = (Sql::Number(made.account), Sql::Number(made.amount));
        if self.connection.execute(HANDLED, &[partition, offset]).await? == 0 {
            return Ok(());
        }
        let found = self.connection.numbers(ACCOUNT, &[account]).await?;
        let (balance, entries) = found.with_context(|| format!("no account {}", made.account))?;
        let other = [partition, offset, Sql::Number(1), Sql::Number(HOUSE), Sql::Number(-made.amount)];
        for side in [[partition, offset, Sql::Number(0), account, amount], other] {
            self.connection.execute(ENTRY, &side).await?;
        }
        self.connection.execute(CHANGE, &[account, amount]).await?;
        let told = Balance {
            number: made.number,
            account: made.account,
            entries: entries + 1,
            balance: balance + made.amount,
        };
        let told = serde_json::to_string(&told)?;
        self.connection.execute(OUTBOX, &[Sql::Text(&record.key), Sql::Text(&told)]).await?;
        Ok(())
    }
}
