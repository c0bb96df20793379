//! The relay where commits overtake each other, and where the server is killed under it.

use std::time::Duration;

use keylane_effects::{EndedAs, OutboxRow, StreamKey, open};

use crate::ground::{Ground, LONG, stream};
use crate::suite::relay::fragile::Life;
use crate::suite::relay::world::World;
use crate::suite::relay::{Writer, emptied, record, start, until};

/// A run that has written its rows is held up before its commit; rows with larger numbers are sent meanwhile.
/// Its own, with the smaller numbers, are sent when they can be seen.
pub async fn rows_that_are_seen_late_are_sent(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    database.settle_start(&stream(), &[(0, 0), (1, 0)]).await.unwrap();
    let other = StreamKey { partition: 1, ..stream() };
    let (held, free) = (
        database.take(&stream(), LONG).await.unwrap().fence,
        database.take(&other, LONG).await.unwrap().fence,
    );
    let admin = ground.admin(&config).await;
    let mut claimed = admin.begin().await.unwrap();
    let claim = "INSERT INTO keylane.claim VALUES ($1, 5, 1)";
    sqlx::query(claim).bind(held.stream).execute(&mut *claimed).await.unwrap();
    let late = database.begin(&held).await.unwrap();
    let row = OutboxRow { event_offset: 5, ..record("t", "k", "late") };
    let late = tokio::spawn(late.finish(&[row], &[(5, EndedAs::Done)], LONG));
    let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database() AND query LIKE '%keylane.claim%')";
    until("the run to be held up", async || sqlx::query_scalar(waits).fetch_one(&admin).await.unwrap()).await;

    let (world, outbox) = (World::default(), database.clone().outbox());
    let early = database.begin(&free).await.unwrap();
    early.finish(&[record("t", "k", "early")], &[(0, EndedAs::Done)], LONG).await.unwrap();
    let relay = start(&database, &world, &Life::immortal(), "first");
    emptied(&*outbox).await;
    assert_eq!(world.seen().len(), 1);
    claimed.rollback().await.unwrap();
    late.await.unwrap().unwrap();
    emptied(&*outbox).await;
    let values: Vec<_> = world.seen().into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, ["early", "late"]);
    relay.stop().await;
}

/// The server is killed again and again while a relay works.
pub async fn a_killed_server_has_nothing_sent_twice(ground: &Ground<'_>) {
    let database = open(&ground.config()).await.unwrap();
    let (world, outbox) = (World::default(), database.clone().outbox());
    let mut writer = Writer::new(&database).await;
    let relay = start(&database, &world, &Life::immortal(), "first");
    for round in 0..4_u64 {
        for number in 0..5 {
            let row = |part: u64| {
                record("t", &format!("k{part}"), &format!("{:03}", round * 100 + number * 10 + part))
            };
            writer.write((0..10).map(row).collect()).await;
        }
        // Not a wait for anything: the kill is to fall anywhere into the relay's work.
        tokio::time::sleep(Duration::from_millis(10 + round * 17)).await;
        ground.server.kill().unwrap();
        ground.server.up().unwrap();
        until("the server to answer", async || outbox.counts().await.is_ok()).await;
        writer.take_anew().await;
    }
    emptied(&*outbox).await;
    relay.stop().await;
    let mut seen = world.seen();
    assert_eq!(seen.len(), 200);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 200, "sent twice");
}
