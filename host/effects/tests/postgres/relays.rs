//! The relay where commits overtake each other, and where the server is killed under it.

use std::time::Duration;

use keylane_effects::{EndedAs, OutboxRow, Selection, StreamKey, open};
use keylane_engine::TopicId;
use sqlx::AssertSqlSafe;

use crate::ground::{Ground, LONG, stream};
use crate::pair_of;
use crate::suite::relay::fragile::Life;
use crate::suite::relay::world::World;
use crate::suite::relay::{Writer, emptied, record, start, until};
use crate::suite::{frozen, setbacks, wakes};

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
    // The row with the smaller number is seen between the other one's sending and the note of it. Before it, the
    // numbering is begun by a transaction of its own.
    let life = Life::until("after the transaction was committed", 1);
    let relay = start(&database, &world, &life, "first");
    life.stopped().await;
    assert_eq!(world.seen().len(), 1);
    claimed.rollback().await.unwrap();
    late.await.unwrap().unwrap();
    life.go_on();
    emptied(&*outbox).await;
    let values: Vec<_> = world.seen().into_iter().map(|(_, _, value)| value).collect();
    assert_eq!(values, ["early", "late"]);
    relay.stop().await;
}

/// A relay that is stopped in the middle of a transaction keeps the relay's row for as long as that lasts.
pub async fn one_that_is_frozen_anywhere_does_no_harm(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, onlooker) = (pair_of(&config).await, open(&config).await.unwrap());
    frozen::one_that_is_frozen_anywhere_does_no_harm(&pair, &onlooker).await;
}

/// A session that is in the middle of a statement is not idle, so that no time-out of the server's ends it: a
/// host that was stopped while the server sends it a large batch.
pub async fn a_session_that_keeps_the_relays_row_is_ended(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let stopped = sqlx::PgPool::connect(&config.write).await.unwrap();
    let mut holding = stopped.begin().await.unwrap();
    sqlx::query("SELECT FROM keylane.relay FOR UPDATE").execute(&mut *holding).await.unwrap();
    let busy = tokio::spawn(async move { sqlx::query("SELECT pg_sleep(3600)").execute(&mut *holding).await });
    let (world, outbox) = (World::default(), database.clone().outbox());
    let mut writer = Writer::new(&database).await;
    writer.write(vec![record("t", "k", "1")]).await;
    let relay = start(&database, &world, &Life::immortal(), "first");
    emptied(&*outbox).await;
    assert_eq!(world.seen().len(), 1);
    busy.await.unwrap().unwrap_err();
    relay.stop().await;
}

/// Takes that wait for runs of others have connections, and the relay has its own.
pub async fn takes_that_wait_do_not_hold_up_the_relay(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let mut writer = Writer::new(&database).await;
    let partitions: Vec<(i32, i64)> = (0..8).map(|partition| (partition, 0)).collect();
    let key = |partition| StreamKey { topic_id: TopicId::new([8; 16]), partition, ..stream() };
    database.settle_start(&key(0), &partitions).await.unwrap();
    let admin = ground.admin(&config).await;
    for (partition, _) in &partitions {
        database.take(&key(*partition), LONG).await.unwrap();
    }
    let mut held = admin.begin().await.unwrap();
    let hold =
        "SELECT FROM keylane.fence JOIN keylane.stream ON id = stream WHERE topic = $1 FOR UPDATE OF fence";
    sqlx::query(hold).bind(stream().topic).execute(&mut *held).await.unwrap();
    let take = |(partition, _): (i32, i64)| {
        let database = database.clone();
        let limit = Duration::from_secs(3_600);
        tokio::spawn(async move { database.take(&key(partition), limit).await })
    };
    let takes: Vec<_> = partitions.into_iter().map(take).collect();
    let waits = "SELECT count(*) >= 4 FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    until("the takes to wait", async || sqlx::query_scalar(waits).fetch_one(&admin).await.unwrap()).await;
    let (world, outbox) = (World::default(), database.clone().outbox());
    let relay = start(&database, &world, &Life::immortal(), "first");
    writer.write(vec![record("t", "k", "1")]).await;
    emptied(&*outbox).await;
    assert!(takes.iter().any(|take| !take.is_finished()));
    held.rollback().await.unwrap();
    for take in takes {
        take.await.unwrap().unwrap();
    }
    relay.stop().await;
}

/// What the page on other tools says to create: a publication of the records as they are inserted. One that
/// published deletions as well would have the server refuse the relay's.
pub async fn what_other_tools_are_told_is_in_nobodys_way(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let page = include_str!("../../OUTBOX.md");
    let begins = page.find("CREATE PUBLICATION").unwrap();
    let statement = page[begins..].split_inclusive(';').next().unwrap().to_owned();
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&ground.admin(&config).await).await.unwrap();
    let (world, outbox) = (World::default(), database.clone().outbox());
    let mut writer = Writer::new(&database).await;
    let relay = start(&database, &world, &Life::immortal(), "first");
    world.set_refused("1", true);
    writer.write(vec![record("t", "k", "1"), record("t", "k", "2"), record("t", "l", "3")]).await;
    until("a refusal", async || outbox.counts().await.unwrap().parked == 2).await;
    world.set_refused("1", false);
    until("the rest", async || {
        outbox.retry(Selection::Refused).await.unwrap();
        outbox.counts().await.unwrap().records == 0
    })
    .await;
    assert_eq!(world.seen().len(), 3);
    relay.stop().await;
}

/// A row that another process has written, of which nobody tells this one.
pub async fn rows_that_nobody_tells_of_are_found_by_looking(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, admin) = (pair_of(&config).await, ground.admin(&config).await);
    let insert = async |row: OutboxRow| {
        let text = "INSERT INTO keylane.outbox (stream, event_offset, ordinal, kind, topic, key, value, headers) \
                    SELECT id, $1, 0, 1, $2, $3, $4, $5 FROM keylane.stream";
        let query = sqlx::query(text).bind(row.event_offset).bind(row.topic).bind(row.key);
        query.bind(row.value).bind(row.headers).execute(&admin).await.unwrap();
    };
    wakes::rows_that_nobody_tells_of_are_found_by_looking(&pair, insert).await;
}

pub async fn a_clock_that_was_set_back_keeps_the_outbox_from_nobody(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, admin) = (pair_of(&config).await, ground.admin(&config).await);
    let set_back = async |time: Duration| {
        let text = "UPDATE keylane.relay SET held_until = held_until + make_interval(secs => $1)";
        sqlx::query(text).bind(time.as_secs_f64()).execute(&admin).await.unwrap();
    };
    setbacks::a_clock_that_was_set_back_keeps_the_outbox_from_nobody(&pair, set_back).await;
}

pub async fn a_clock_that_was_set_back_has_no_row_wait_for_it(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, admin) = (pair_of(&config).await, ground.admin(&config).await);
    let set_back = async |time: Duration| {
        let text = "UPDATE keylane.outbox SET not_before = not_before + make_interval(secs => $1)";
        sqlx::query(text).bind(time.as_secs_f64()).execute(&admin).await.unwrap();
    };
    setbacks::a_clock_that_was_set_back_has_no_row_wait_for_it(&pair, set_back).await;
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
