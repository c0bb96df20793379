//! Records and mails that are refused: who waits, who does not, and what an operator can do.

use keylane_effects::{Outbox, OutboxCounts, Parked, Selection};

use super::{Life, World, Writer, emptied, mail, record, start, until};
use crate::suite::Ground;

/// The values of a key that were sent, in order.
fn values_of(world: &World, key: &str) -> Vec<String> {
    world.seen().into_iter().filter(|(_, of, _)| of == key).map(|(_, _, value)| value).collect()
}

async fn counts(outbox: &dyn Outbox) -> OutboxCounts {
    outbox.counts().await.unwrap()
}

/// A record that is refused holds up its key in its topic, and nobody else; later it goes first.
pub async fn a_refused_record_holds_up_its_key_alone(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_refused("bad", true);
    let rows = vec![
        record("t", "good", "1"),
        record("t", "k", "0"),
        record("t", "k", "bad"),
        record("t", "k", "2"),
        record("other", "k", "3"),
        record("t", "good", "2"),
    ];
    writer.write(rows).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    until("all but the key", async || counts(&*outbox).await.records == 2).await;
    writer.write(vec![record("t", "k", "4"), record("t", "good", "3")]).await;
    until("those that came later", async || {
        let counts = counts(&*outbox).await;
        (counts.records, counts.parked) == (3, 3)
    })
    .await;
    assert_eq!(values_of(&world, "good"), ["1", "2", "3"]);
    assert_eq!(values_of(&world, "k"), ["0", "3"]);
    let listed = outbox.list(true, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].handler.as_str(), listed[0].event_topic.as_str()), ("handler", "orders"));
    assert!(listed[0].attempts >= 1 && listed[0].last_error.as_deref() == Some("refused by the test"));
    let behind = outbox.list(false, 10).await.unwrap();
    assert_eq!(behind.iter().filter(|row| row.parked == Parked::Behind).count(), 2);

    world.set_refused("bad", false);
    until("a row to try again", async || outbox.retry(Selection::Refused).await.unwrap() == 1).await;
    emptied(&*outbox).await;
    assert_eq!(values_of(&world, "k"), ["0", "3", "bad", "2", "4"]);
    relay.stop().await;
}

/// What an operator drops is never sent, and what stood behind it goes on.
pub async fn a_dropped_row_lets_its_key_go_on(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_refused("bad", true);
    writer.write(vec![record("t", "k", "bad"), record("t", "k", "1"), record("t", "k", "2")]).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    until("a refusal", async || counts(&*outbox).await.parked == 3).await;
    let refused = outbox.list(true, 10).await.unwrap()[0].id;
    until("the row to be dropped", async || {
        let dropped = outbox.drop_rows(Selection::Rows(vec![refused])).await.unwrap();
        dropped.dropped == 1 || dropped.under_way != [refused]
    })
    .await;
    emptied(&*outbox).await;
    assert_eq!(values_of(&world, "k"), ["1", "2"]);
    relay.stop().await;
}

/// A topic that is not there holds up its records, in order, and nobody else's.
pub async fn a_missing_topic_holds_up_its_records_alone(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_missing("gone", true);
    writer.write(vec![record("gone", "k", "1"), record("here", "k", "a"), record("gone", "k", "2")]).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    until("the other topic's", async || values_of(&world, "k") == ["a"]).await;
    writer.write(vec![record("gone", "k", "3"), record("here", "k", "b")]).await;
    until("the other topic's", async || values_of(&world, "k") == ["a", "b"]).await;
    assert_eq!(outbox.list(true, 10).await.unwrap()[0].last_error.as_deref(), Some("refused by the test"));
    world.set_missing("gone", false);
    emptied(&*outbox).await;
    assert_eq!(values_of(&world, "k"), ["a", "b", "1", "2", "3"]);
    relay.stop().await;
}

/// A mail that is refused waits alone, and can be tried again or dropped.
pub async fn a_refused_mail_waits_alone(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_bounced("2@keylane", true);
    world.set_bounced("3@keylane", true);
    writer.write((1..=12).map(|number| mail(&format!("{number}@keylane"))).collect()).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    until("all but two", async || world.mails().len() == 10 && counts(&*outbox).await.mails == 2).await;
    let listed = outbox.list(true, 10).await.unwrap();
    let ids: Vec<_> =
        listed.iter().map(|row| String::from_utf8(row.row.key.clone().unwrap()).unwrap()).collect();
    assert_eq!(ids, ["2@keylane", "3@keylane"]);
    world.set_bounced("2@keylane", false);
    let (first, second) = (listed[0].id, listed[1].id);
    until("a mail to try again", async || {
        outbox.retry(Selection::Rows(vec![first])).await.unwrap();
        world.mails().contains_key("2@keylane")
    })
    .await;
    outbox.drop_rows(Selection::Rows(vec![second])).await.unwrap();
    emptied(&*outbox).await;
    assert!(world.mails().values().all(|times| *times == 1), "{:?}", world.mails());
    assert!(!world.mails().contains_key("3@keylane"));
    relay.stop().await;
}

/// One record among many that is refused with them is found, and all others are sent.
pub async fn one_bad_record_among_many_is_found(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    for bad in ["0700", "1999"] {
        world.set_refused(bad, true);
    }
    let row = |number: usize| record("t", &format!("k{}", number % 100), &format!("{number:04}"));
    writer.write((0..2_000).map(row).collect()).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    until("all but what is held up", async || counts(&*outbox).await.records == 14).await;
    world.set_refused("0700", false);
    outbox.retry(Selection::Refused).await.unwrap();
    until("the first key", async || counts(&*outbox).await.records == 1).await;
    let expected: Vec<String> = (0..20).map(|hundred| format!("{:04}", hundred * 100)).collect();
    assert_eq!(values_of(&world, "k0"), expected);
    assert_eq!(world.seen().len(), 1_999);
    relay.stop().await;
}
