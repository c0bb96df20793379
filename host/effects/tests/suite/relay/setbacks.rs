//! Databases and logs that were set back: the relay stops and says so, until an operator decides.

use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{
    Advance, Applicant, Batch, Leased, MailEnded, Outbox, OutboxError, Position, Refused, Relay, RelayStatus,
    StoredRow, UnderWay,
};

use super::{Life, World, Writer, emptied, mail, record, says, start, until};
use crate::suite::{Ground, LONG};

fn values(world: &World) -> Vec<String> {
    world.seen().into_iter().map(|(_, _, value)| value).collect()
}

/// A relay has sent a record and is gone; another one waits.
async fn one_sent_and_one_waiting(ground: &Ground) -> (World, Arc<dyn Outbox>, Writer) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    writer.write(vec![record("t", "k", "1")]).await;
    emptied(&*outbox).await;
    relay.stop().await;
    writer.write(vec![record("t", "k", "2")]).await;
    (world, outbox, writer)
}

async fn stopped_saying(ground: &Ground, world: &World, words: &str) {
    let relay = start(&ground.here, world, &Life::immortal(), "first");
    stops_saying(&relay, words).await;
    relay.stop().await;
}

async fn stops_saying(relay: &Relay, words: &str) {
    let status = says(relay, |status| matches!(status, RelayStatus::Stopped { .. })).await;
    let RelayStatus::Stopped { reason } = status else { panic!("{status:?}") };
    assert!(reason.contains(words) && reason.contains("keylane outbox reset"), "{reason}");
}

/// Kafka is ahead or behind, has nothing or another numbering: nothing is sent until a reset.
pub async fn what_was_set_back_stops_the_relay(ground: &Ground) {
    let (world, outbox, _writer) = one_sent_and_one_waiting(ground).await;
    let position = world.position().unwrap();
    for (wrong, words) in [
        (Some(Position { batch: position.batch + 2, ..position }), "restored from a backup"),
        (Some(Position { batch: position.batch - 1, ..position }), "lost records"),
        (None, "no position"),
        (Some(Position { numbering: position.numbering ^ 1, ..position }), "different numberings"),
    ] {
        world.set_position(wrong);
        stopped_saying(ground, &world, words).await;
        assert_eq!(world.seen().len(), 1, "nothing was sent");
    }
    world.set_position(Some(Position { batch: position.batch + 2, ..position }));
    outbox.reset().await.unwrap();
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    emptied(&*outbox).await;
    relay.stop().await;
    assert_eq!(world.seen().len(), 2);
    assert_ne!(world.position().unwrap().numbering, position.numbering);
}

/// A reset under a relay that runs: it notices, begins a numbering and goes on.
pub async fn a_running_relay_heeds_a_reset(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    writer.write(vec![record("t", "k", "1")]).await;
    emptied(&*outbox).await;
    let before = world.position().unwrap();
    outbox.reset().await.unwrap();
    until("a new numbering", async || world.position().unwrap().numbering != before.numbering).await;
    writer.write(vec![record("t", "k", "2")]).await;
    emptied(&*outbox).await;
    assert_eq!(world.seen().len(), 2);
    relay.stop().await;
}

/// A batch that was sent, and not noted, when an operator resets the outbox is not sent again, wherever those
/// who take over then die.
pub async fn a_reset_repeats_no_batch(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let steps = [
        "after the way was opened",
        "before a batch is made",
        "after a batch was made",
        "before the transaction",
        "after the transaction was committed",
        "before the numbering",
        "after the numbering",
    ];
    for (number, step) in steps.into_iter().enumerate() {
        outbox.reset().await.unwrap();
        // The numbering is begun by a transaction of its own.
        let life = Life::until("after the transaction was committed", 1);
        let first = start(&ground.here, &world, &life, "first");
        writer.write(vec![record("t", "k", &format!("{number}"))]).await;
        life.stopped().await;
        assert_eq!(outbox.counts().await.unwrap().records, 1, "sent, and not noted");
        outbox.reset().await.unwrap();
        drop(first);
        let life = Life::until(step, 0);
        let second = start(&ground.there, &world, &life, "second");
        let stopped = tokio::time::timeout(LONG, life.stopped()).await;
        assert!(stopped.is_ok(), "{step} has not come");
        drop(second);
        let third = start(&ground.here, &world, &Life::immortal(), "third");
        emptied(&*outbox).await;
        third.stop().await;
    }
    let expected: Vec<String> = (0..steps.len()).map(|number| number.to_string()).collect();
    assert_eq!(values(&world), expected);
}

/// An older copy of a database, made and put back while others have it open.
pub trait Backup {
    /// Copies the database as it is now.
    async fn make(&mut self);
    /// Puts the copy in the place of what is there.
    async fn restore(&self);
}

/// The copy is older by exactly one batch, which Kafka has: the next one, of other rows, would have its number.
pub async fn a_copy_older_by_one_batch_stops_the_relay(ground: &Ground, backup: &mut impl Backup) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let life = Life::until("after the transaction was committed", 2);
    let relay = start(&ground.here, &world, &life, "first");
    writer.write(vec![record("t", "k", "1")]).await;
    emptied(&*outbox).await;
    backup.make().await;
    writer.write(vec![record("t", "k", "2")]).await;
    life.stopped().await;
    backup.restore().await;
    writer.take_anew().await;
    writer.write(vec![record("t", "k", "3")]).await;
    life.go_on();
    stops_saying(&relay, "restored from a backup").await;
    assert_eq!(outbox.counts().await.unwrap().records, 1, "a row is lost that was never sent");
    assert_eq!(values(&world), ["1", "2"]);
    outbox.reset().await.unwrap();
    emptied(&*outbox).await;
    relay.stop().await;
    assert_eq!(values(&world), ["1", "2", "3"]);
}

/// The copy has the last batch under way still, while the relay has nothing to do: what Kafka has is not sent
/// again.
pub async fn a_copy_with_the_last_batch_under_way_is_recognised(ground: &Ground, backup: &mut impl Backup) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let life = Life::until("before the transaction", 1);
    let relay = start(&ground.here, &world, &life, "first");
    writer.write(vec![record("t", "k", "1")]).await;
    life.stopped().await;
    backup.make().await;
    life.go_on();
    emptied(&*outbox).await;
    backup.restore().await;
    writer.take_anew().await;
    writer.write(vec![record("t", "k", "2")]).await;
    emptied(&*outbox).await;
    relay.stop().await;
    assert_eq!(values(&world), ["1", "2"]);
}

/// A former owner is the owner again in an older copy, and makes a batch there before it hears anything of Kafka,
/// which has one of other rows that was made where the copy was.
pub async fn a_former_owners_batch_is_not_taken_for_sent(ground: &Ground, backup: &mut impl Backup) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let life = Life::until("before a batch is made", 0);
    let former = start(&ground.here, &world, &life, "former");
    life.stopped().await;
    backup.make().await;
    writer.write(vec![record("t", "k", "1")]).await;
    let other = start(&ground.there, &world, &Life::immortal(), "other");
    emptied(&*outbox).await;
    drop(other);
    assert_eq!(values(&world), ["1"]);
    backup.restore().await;
    writer.take_anew().await;
    writer.write(vec![record("t", "k", "2")]).await;
    life.go_on();
    stops_saying(&former, "restored from a backup").await;
    assert_eq!(outbox.counts().await.unwrap().records, 1, "a row is lost that was never sent");
    outbox.reset().await.unwrap();
    emptied(&*outbox).await;
    former.stop().await;
    assert_eq!(values(&world), ["1", "2"]);
}

/// A copy of an outbox that had just been reset: what was meant then was done, and is not done again.
pub async fn a_reset_in_a_copy_counts_no_more(ground: &Ground, backup: &mut impl Backup) {
    let (world, outbox, _writer) = one_sent_and_one_waiting(ground).await;
    outbox.reset().await.unwrap();
    backup.make().await;
    for resets in 0..2 {
        if resets > 0 {
            outbox.reset().await.unwrap();
        }
        let relay = start(&ground.here, &world, &Life::immortal(), "second");
        emptied(&*outbox).await;
        relay.stop().await;
        backup.restore().await;
        stopped_saying(ground, &world, "different numberings").await;
        assert_eq!(values(&world).len(), 2 + resets);
    }
}

/// Numberings are drawn by a clock, which may have been years ahead once: an operator's word is above whatever
/// Kafka has, and counts once for all that.
pub async fn a_numbering_of_the_future_is_passed_by_one_reset(ground: &Ground) {
    let (world, outbox, mut writer) = one_sent_and_one_waiting(ground).await;
    let future = world.position().unwrap().numbering + (1 << 60);
    for is_said_before in [false, true] {
        let numbering = future + i64::from(is_said_before) * 1_000;
        if is_said_before {
            outbox.reset().await.unwrap();
        }
        world.set_position(Some(Position { numbering, batch: 3 }));
        stopped_saying(ground, &world, "different numberings").await;
        stopped_saying(ground, &world, "different numberings").await;
        let sent = values(&world).len();
        outbox.reset().await.unwrap();
        let relay = start(&ground.here, &world, &Life::immortal(), "second");
        emptied(&*outbox).await;
        relay.stop().await;
        assert!(world.position().unwrap().numbering > numbering);
        assert_eq!(values(&world).len(), sent + 1);
        writer.write(vec![record("t", "k", "3")]).await;
    }
}

/// An outbox is one fleet's; a former epoch renews nothing.
pub async fn an_outbox_is_one_fleets_and_one_hosts(ground: &Ground) {
    let (here, there) = (ground.here.clone().outbox(), ground.there.clone().outbox());
    let applicant = |fleet: &str, host: &str| Applicant {
        fleet: fleet.to_owned(),
        host: host.to_owned(),
        former: None,
        time: LONG,
    };
    let Leased::Ours(first) = here.lease(&applicant("fleet", "a")).await.unwrap() else { panic!("held") };
    let held = there.lease(&applicant("fleet", "b")).await.unwrap();
    assert_eq!(held, Leased::Held { by: "a".to_owned() });
    let error = there.lease(&applicant("other", "b")).await.unwrap_err();
    assert!(matches!(error, OutboxError::OtherFleet { .. }), "{error}");
    let again = Applicant { former: Some(first), ..applicant("fleet", "a") };
    let Leased::Ours(second) = here.lease(&again).await.unwrap() else { panic!("its own lease") };
    assert_eq!(here.renew(first, LONG).await, Err(OutboxError::NotOwner));
    here.renew(second, LONG).await.unwrap();
    here.release(second).await.unwrap();
    let taken = there.lease(&applicant("fleet", "b")).await.unwrap();
    assert!(matches!(taken, Leased::Ours(_)), "given back, it is free: {taken:?}");
    assert_eq!(here.renew(second, LONG).await, Err(OutboxError::NotOwner));
    here.reset().await.unwrap();
    let taken = there.lease(&applicant("other", "c")).await.unwrap();
    assert!(matches!(taken, Leased::Ours(_)), "after a reset it may be another fleet's: {taken:?}");
    ground.here.adopt_progress("handler", "renamed").await.unwrap();
    let Leased::Ours(own) = here.lease(&applicant("renamed", "d")).await.unwrap() else { panic!("held") };
    ground.there.adopt_progress("handler", "renamed").await.unwrap();
    here.renew(own, LONG).await.unwrap();
}

/// A lease of which the clock says that it is good for an hour is one of before the clock was set back. `set_back`
/// does that to what lies in the database.
pub async fn a_clock_that_was_set_back_keeps_the_outbox_from_nobody(
    ground: &Ground,
    set_back: impl AsyncFn(Duration),
) {
    let (here, there) = (ground.here.clone().outbox(), ground.there.clone().outbox());
    let applicant =
        |host: &str| Applicant { fleet: "fleet".to_owned(), host: host.to_owned(), former: None, time: LONG };
    let Leased::Ours(first) = here.lease(&applicant("a")).await.unwrap() else { panic!("held") };
    set_back(LONG / 2).await;
    let held = there.lease(&applicant("b")).await.unwrap();
    assert_eq!(held, Leased::Held { by: "a".to_owned() }, "a little is no reason");
    set_back(Duration::from_secs(3_600)).await;
    let taken = there.lease(&applicant("b")).await.unwrap();
    assert!(matches!(taken, Leased::Ours(_)), "{taken:?}");
    assert_eq!(here.renew(first, LONG).await, Err(OutboxError::NotOwner), "it learns by its epoch");
}

/// Nothing waits for longer than an hour, so what does was refused before the clock was set back.
pub async fn a_clock_that_was_set_back_has_no_row_wait_for_it(
    ground: &Ground,
    set_back: impl AsyncFn(Duration),
) {
    let outbox = ground.here.clone().outbox();
    let mut writer = Writer::new(&ground.here).await;
    let applicant = Applicant { fleet: "fleet".to_owned(), host: "a".to_owned(), former: None, time: LONG };
    let Leased::Ours(epoch) = outbox.lease(&applicant).await.unwrap() else { panic!("held") };
    outbox.begin_numbering(epoch, 1).await.unwrap();
    writer.write(vec![mail("1@keylane"), record("t", "k", "1")]).await;
    let refused = |id| Refused { id, reason: "not now".to_owned(), wait: Some(LONG) };
    let step = |expected, refused| Advance {
        expected,
        under_way: UnderWay::NotSent,
        refused,
        paused: Vec::new(),
        rows: 10,
        bytes: 1_000,
        lease: LONG,
    };
    let records =
        outbox.advance(epoch, step(outbox.renew(epoch, LONG).await.unwrap(), vec![])).await.unwrap();
    let again = step(records.standing, vec![refused(records.rows[0].id)]);
    let Batch { standing, rows } = outbox.advance(epoch, again).await.unwrap();
    assert_eq!(rows, []);
    let mails = outbox.mails(epoch, 8).await.unwrap();
    let (id, message_id) = (mails[0].id, b"1@keylane".to_vec());
    outbox.mails_ended(epoch, vec![MailEnded { id, message_id, refused: Some(refused(id)) }]).await.unwrap();
    let waits = async || (outbox.has_records(&[]).await.unwrap(), outbox.has_mails().await.unwrap());
    assert_eq!(waits().await, (false, false));
    set_back(LONG).await;
    assert_eq!(waits().await, (false, false), "a little is no reason");
    set_back(Duration::from_secs(3_600)).await;
    assert_eq!(waits().await, (true, true));
    let ids = |rows: &[StoredRow]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&outbox.mails(epoch, 8).await.unwrap()), ids(&mails));
    let batch = outbox.advance(epoch, step(standing, vec![])).await.unwrap();
    assert_eq!(ids(&batch.rows), ids(&records.rows));
}
