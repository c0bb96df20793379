//! A relay that is asked to stop: what was made before still leaves, for a while.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{OutboxCounts, OutboxRow, Relay, RelayConfig};

use super::fragile::{Fragile, Life};
use super::world::World;
use super::{Writer, config, mail, record, started_as};
use crate::suite::{Ground, LONG};

/// More than two batches.
const RECORDS: usize = 2_500;
/// More than two handfuls.
const MAILS: usize = 20;

fn rows() -> Vec<OutboxRow> {
    let records =
        (0..RECORDS).map(|number| record("t", &format!("k{}", number % 7), &format!("{number:06}")));
    records.chain((0..MAILS).map(|number| mail(&format!("{number}@keylane")))).collect()
}

/// A relay that stands still in its first batch, and whose stop may take this long.
async fn in_its_first_batch(ground: &Ground, world: &World, stop: Duration) -> (Relay, Arc<Life>) {
    // Its numbering goes before.
    let life = Life::until("before the transaction", 1);
    let config = RelayConfig { lease: LONG, stop, ..config("first") };
    let relay = started_as(Fragile::new(ground.here.clone().outbox(), &life), world, config);
    life.stopped().await;
    (relay, life)
}

/// Asks for the stop before the relay goes on, and waits until it has stopped.
async fn stopped(relay: Relay, life: &Life) {
    let mut stopping = pin!(relay.stop());
    assert!(futures::poll!(&mut stopping).is_pending());
    life.go_on();
    stopping.await;
}

async fn left(ground: &Ground) -> (u64, u64) {
    let OutboxCounts { records, mails, .. } = ground.there.clone().outbox().counts().await.unwrap();
    (records, mails)
}

/// Batch after batch and mail after mail, until nothing is left.
pub async fn what_lies_in_the_outbox_leaves_at_a_stop(ground: &Ground) {
    let world = World::default();
    Writer::new(&ground.here).await.write(rows()).await;
    let (relay, life) = in_its_first_batch(ground, &world, LONG).await;
    stopped(relay, &life).await;
    assert_eq!(left(ground).await, (0, 0));
    assert_eq!((world.seen().len(), world.mails().len()), (RECORDS, MAILS));
}

/// A backlog does not keep a host from stopping: what is under way is ended, the rest is for the next relay.
pub async fn a_stop_goes_on_for_a_while_only(ground: &Ground) {
    let world = World::default();
    Writer::new(&ground.here).await.write(rows()).await;
    let (relay, life) = in_its_first_batch(ground, &world, Duration::ZERO).await;
    stopped(relay, &life).await;
    let (records, mails) = left(ground).await;
    let sent = (world.seen().len(), world.mails().len());
    assert_eq!(sent, (RECORDS - usize::try_from(records).unwrap(), MAILS - usize::try_from(mails).unwrap()));
    assert_eq!(records, 1_500, "the batch under way was ended, and no other begun");
}
