//! Mails go out again only where the server's yes did not become a deleted row, and that is rare.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use keylane_effects::{
    Applicant, Leased, MailEnded, OutboxCounts, OutboxRow, Refused, RelayConfig, RelayStatus, StoredRow,
};

use super::fragile::Fragile;
use super::{
    Clock, Life, World, Writer, config, emptied, mail, record, says, start, started, started_as,
    started_without_mail, until,
};
use crate::suite::{Ground, LONG};

fn id(number: u32) -> String {
    format!("{number}@keylane")
}

/// A host that is stopped as planned waits for the mails that a slow server has under way.
pub async fn a_planned_stop_waits_for_a_slow_mail(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_slow(&id(1), true);
    writer.write(vec![mail(&id(1))]).await;
    let first = start(&ground.here, &world, &Life::immortal(), "first");
    until("the mail", async || world.mails().contains_key(&id(1))).await;
    let stopping = tokio::spawn(first.stop());
    // Longer than a stop waits for anything but mails; what is tested is that it has not given up.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!stopping.is_finished(), "the mail was given up");
    writer.write(vec![mail(&id(2))]).await;
    world.set_slow(&id(1), false);
    stopping.await.unwrap();
    assert_eq!(outbox.counts().await.unwrap().mails, 1, "the first was noted, the second not begun");
    let second = start(&ground.there, &world, &Life::immortal(), "second");
    emptied(&*outbox).await;
    second.stop().await;
    assert_eq!(world.mails(), BTreeMap::from([(id(1), 1), (id(2), 1)]));
}

/// Mails that were taken beside a slow one are noted at once: a host that dies then repeats the slow one alone.
pub async fn each_mail_is_noted_when_it_is_taken(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_slow(&id(3), true);
    writer.write((1..=5).map(|number| mail(&id(number))).collect()).await;
    let first = start(&ground.here, &world, &Life::immortal(), "first");
    until("all but the slow one", async || outbox.counts().await.unwrap().mails == 1).await;
    drop(first);
    world.set_slow(&id(3), false);
    let second = start(&ground.there, &world, &Life::immortal(), "second");
    emptied(&*outbox).await;
    second.stop().await;
    let times = |number: u32| (id(number), 1 + u32::from(number == 3));
    assert_eq!(world.mails(), (1..=5).map(times).collect());
}

/// A database that is away for a moment when a mail was taken hears of it later.
pub async fn a_mail_is_noted_as_soon_as_the_database_is_back(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    writer.write(vec![mail(&id(1)), mail(&id(2))]).await;
    let fragile = Fragile::new(ground.here.clone().outbox(), &Life::immortal());
    let relay = started(Fragile { lost_notes: AtomicU32::new(2), ..fragile }, &world, "first");
    emptied(&*outbox).await;
    relay.stop().await;
    assert_eq!(world.mails(), BTreeMap::from([(id(1), 1), (id(2), 1)]));
}

/// A host that was not told how mail leaves may relay for others that were: that mails wait is told, and records leave.
pub async fn that_mails_cannot_leave_is_told(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let without = Fragile::new(ground.here.clone().outbox(), &Life::immortal());
    let relay = started_without_mail(without, &world, "first");
    says(&relay, |status| *status == RelayStatus::Relaying).await;
    writer.write(vec![mail(&id(1)), record("t", "k", "1")]).await;
    says(&relay, |status| *status == RelayStatus::WithoutMail).await;
    until("the record", async || outbox.counts().await.unwrap().records == 0).await;
    relay.stop().await;
    let other = start(&ground.there, &world, &Life::immortal(), "second");
    emptied(&*outbox).await;
    says(&other, |status| *status == RelayStatus::Relaying).await;
    other.stop().await;
    assert_eq!(world.mails(), BTreeMap::from([(id(1), 1)]));
}

/// An operator's hand may have taken a mail's key away: it goes out once all the same.
pub async fn a_mail_without_a_key_goes_out_once(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    writer.write(vec![OutboxRow { key: None, ..mail(&id(1)) }]).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    emptied(&*outbox).await;
    relay.stop().await;
    assert_eq!(world.mails(), BTreeMap::from([(id(1), 1)]));
}

/// Under a mail's number there is another row in an older copy of the database.
pub async fn a_mail_is_noted_by_its_message_id_too(ground: &Ground) {
    let outbox = ground.here.clone().outbox();
    let mut writer = Writer::new(&ground.here).await;
    writer.write(vec![mail(&id(1)), record("t", "k", "1")]).await;
    let applicant =
        Applicant { fleet: "fleet".to_owned(), host: "host".to_owned(), former: None, time: LONG };
    let Leased::Ours(epoch) = outbox.lease(&applicant).await.unwrap() else { panic!("held") };
    let rows = outbox.list(false, 10).await.unwrap();
    let ended = |id: i64, message_id: &str| {
        let refused = None;
        vec![MailEnded { id, message_id: message_id.as_bytes().to_vec(), refused }]
    };
    for row in &rows {
        outbox.mails_ended(epoch, ended(row.id, &id(2))).await.unwrap();
        outbox.mails_ended(epoch, ended(row.id, "k")).await.unwrap();
    }
    assert_eq!(outbox.list(false, 10).await.unwrap().len(), rows.len());
    for row in &rows {
        outbox.mails_ended(epoch, ended(row.id, &id(1))).await.unwrap();
    }
    let OutboxCounts { records, mails, .. } = outbox.counts().await.unwrap();
    assert_eq!((records, mails), (1, 0));
}

/// Mails that a server refuses again and again, one mailbox being full, have places of their own and no more: those
/// that were never tried go out beside them, and each of them has its turn.
pub async fn refused_mails_keep_no_other_waiting(ground: &Ground) {
    const PLACES: usize = 8;
    const REFUSED: usize = 20;
    let outbox = ground.here.clone().outbox();
    let mut writer = Writer::new(&ground.here).await;
    writer.write((0..20).map(|number| mail(&id(number))).collect()).await;
    let applicant =
        Applicant { fleet: "fleet".to_owned(), host: "host".to_owned(), former: None, time: LONG };
    let Leased::Ours(epoch) = outbox.lease(&applicant).await.unwrap() else { panic!("held") };
    let refuse = async |mails: Vec<StoredRow>| {
        let refused = |mail: StoredRow| MailEnded {
            id: mail.id,
            message_id: mail.row.key.unwrap(),
            refused: Some(Refused { id: mail.id, reason: "full".to_owned(), wait: Some(Duration::ZERO) }),
        };
        outbox.mails_ended(epoch, mails.into_iter().map(refused).collect()).await.unwrap();
    };
    let mut tried = BTreeSet::new();
    while tried.len() < REFUSED {
        let mails = outbox.mails(epoch, PLACES).await.unwrap();
        assert_eq!(mails.len(), PLACES, "no place is left empty");
        let news: BTreeSet<i64> = mails.iter().map(|mail| mail.id).filter(|id| tried.insert(*id)).collect();
        assert!(!news.is_empty(), "those that were refused take all places");
        refuse(mails).await;
    }
    let mut again = BTreeSet::new();
    for number in (100..).take(REFUSED) {
        writer.write((0..PLACES as u32).map(|one| mail(&id(number * 100 + one))).collect()).await;
        let mails = outbox.mails(epoch, PLACES).await.unwrap();
        let (former, fresh): (Vec<_>, Vec<_>) = mails.into_iter().partition(|mail| tried.contains(&mail.id));
        assert!(fresh.len() > former.len() && !former.is_empty(), "{} and {}", fresh.len(), former.len());
        again.extend(former.iter().map(|mail| mail.id));
        refuse(former).await;
    }
    assert_eq!(again, tried, "each has its turn");
}

/// A server that refuses some mails for their recipients takes others: nobody waits for it.
pub async fn a_full_mailbox_is_no_trouble_of_the_server(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    world.set_full(&id(1));
    writer.write(vec![mail(&id(1))]).await;
    let relay = start(&ground.here, &world, &Life::immortal(), "first");
    // The next pause would be eight seconds by then.
    let tried = async || outbox.list(false, 10).await.unwrap().iter().all(|row| row.attempts >= 3);
    until("the third try", tried).await;
    let begun = Instant::now();
    writer.write(vec![mail(&id(2))]).await;
    until("another mail", async || world.mails().contains_key(&id(2))).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    relay.stop().await;
}

/// A machine that sleeps before a mail begins may have lost the lease meanwhile, though little time has passed for
/// those of its clocks that sleep too.
pub async fn a_machine_that_slept_begins_no_mail(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    writer.write(vec![mail(&id(1))]).await;
    let (life, clock) = (Life::until("before the mail", 0), Arc::<Clock>::default());
    let sleeper = RelayConfig { lease: LONG, clock: clock.clone(), ..config("sleeper") };
    let first = started_as(Fragile::new(ground.here.clone().outbox(), &life), &world, sleeper);
    life.stopped().await;
    clock.turn(2 * LONG);
    // For the database no time has passed, so that the lease is taken away by hand.
    outbox.reset().await.unwrap();
    let second = start(&ground.there, &world, &Life::immortal(), "second");
    emptied(&*outbox).await;
    life.go_on();
    first.stop().await;
    second.stop().await;
    assert_eq!(world.mails(), BTreeMap::from([(id(1), 1)]));
}
