//! Empties the outbox: reads a batch, sends it, deletes it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::sync::Notify;

use super::Writer;
use crate::books::BALANCES;
use crate::connection::Connection;

/// How long it waits at most before it looks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Goes on until something fails.
pub(super) async fn relay(
    mut connection: Connection,
    writer: Writer,
    broker: &str,
    committed: &Notify,
) -> Result<()> {
    let producer: FutureProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()?;
    loop {
        let rows = connection.texts("SELECT id, key, value FROM outbox ORDER BY id LIMIT 1000").await?;
        if rows.is_empty() {
            // Woken or not: it looks again.
            let _ = tokio::time::timeout(LOOK_EVERY, committed.notified()).await;
            continue;
        }
        let mut sent = Vec::with_capacity(rows.len());
        let mut ids = String::new();
        for (id, key, value) in &rows {
            let record = FutureRecord::to(BALANCES).key(key).payload(value);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
            let comma = if ids.is_empty() { "" } else { "," };
            // Writing to a text cannot fail.
            let _ = write!(ids, "{comma}{id}");
        }
        for delivery in sent {
            delivery.await.context("the producer is gone")?.map_err(|(error, _)| error)?;
        }
        let turn = match &writer {
            Some(writer) => Some(Arc::clone(writer).lock_owned().await),
            None => None,
        };
        connection.script(format!("DELETE FROM outbox WHERE id IN ({ids})")).await?;
        drop(turn);
    }
}
