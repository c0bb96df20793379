//! A relay that is asked to stop: what was made before still leaves, for a while.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{ListedRow, OutboxCounts, OutboxRow, Relay, RelayConfig, Selection};

use super::fragile::{Fragile, Life};
use super::world::World;
use super::{Writer, config, mail, record, start, started_as, until};
use crate::suite::{Ground, LONG};

/// More than two batches.
const RECORDS: usize = 2_500;
/// More than two handfuls.
const MAILS: usize = 20;
/// More rows behind one that waits than a step puts aside.
const BEHIND: usize = 16_500;

fn rows() -> Vec<OutboxRow> {
    let records =
        (0..RECORDS).map(|number| record("t", &format!("k{}", number % 7), &format!("{number:06}")));
    records.chain((0..MAILS).map(|number| mail(&format!("{number}@keylane")))).collect()
}

/// A relay that stands still in its first batch, and whose stop may take this long.
async fn in_its_first_batch(ground: &Ground, world: &World, stop: Duration) -> (Relay, Arc<Life>) {
    // Its numbering goes before.
    standing(ground, world, stop, Life::until("before the transaction", 1)).await
}

/// One that stands still where its life says.
async fn standing(ground: &Ground, world: &World, stop: Duration, life: Arc<Life>) -> (Relay, Arc<Life>) {
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

/// Nor do mails: of a handful, those that were not begun are for the next relay as well.
pub async fn a_stop_begins_no_more_mails(ground: &Ground) {
    let world = World::default();
    Writer::new(&ground.here).await.write(rows()).await;
    let (relay, life) = standing(ground, &world, Duration::ZERO, Life::until("after the mail", 0)).await;
    stopped(relay, &life).await;
    assert_eq!(left(ground).await.1, u64::try_from(MAILS - 1).unwrap());
    assert_eq!(world.mails().len(), 1, "the one that was under way");
}

/// A row that may be sent leaves at a stop, though so many stand before it behind one that waits that a step ends
/// before it comes to it.
pub async fn rows_behind_many_that_wait_leave_at_a_stop(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    world.set_refused("bad", true);
    let mut writer = Writer::new(&ground.here).await;
    writer.write(vec![record("t", "k", "bad")]).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    // Until it waits for longer than a test takes.
    until("a record that waits for long", async || {
        outbox.retry(Selection::Refused).await.unwrap();
        outbox.list(true, 1).await.unwrap().first().is_some_and(|row| row.attempts >= 10)
    })
    .await;
    until("it waits", async || outbox.list(true, 1).await.unwrap().first().is_some_and(is_far_off)).await;
    relay.stop().await;
    let behind = (0..BEHIND).map(|number| record("t", "k", &number.to_string()));
    writer.write(behind.chain([record("t", "free", "last")]).collect()).await;
    let (relay, life) = standing(ground, &world, LONG, Life::until("after the way was opened", 0)).await;
    stopped(relay, &life).await;
    let last = ["t", "free", "last"].map(str::to_owned);
    assert_eq!(world.seen(), [<(String, String, String)>::from(last)]);
}

fn is_far_off(row: &ListedRow) -> bool {
    row.wait_ms.is_some_and(|wait_ms| wait_ms > 300_000)
}
