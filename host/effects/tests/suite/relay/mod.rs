//! The relay over a real database: whatever dies or is stopped at whichever step, each record is seen once and
//! in the order of its key.

pub mod fragile;
pub mod frozen;
pub mod mails;
pub mod refusals;
pub mod setbacks;
pub mod stops;
pub mod wakes;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use keylane_effects::{
    Database, EndedAs, Letter, MailSender, Outbox, OutboxCounts, OutboxKind, OutboxRow, Relay, RelayConfig,
    RelayStatus, mail_row, record_row,
};
use keylane_engine::{BootClock, Fence, OutgoingRecord};
use tokio::runtime::Handle;

use self::fragile::{Fragile, Life, STEPS};
use self::world::World;
use super::{Ground, LONG, key, take};

/// So long an outbox waits for the next relay here.
const LEASE: Duration = Duration::from_millis(200);

/// A machine's clock, which a test can turn.
#[derive(Default)]
pub struct Clock {
    ahead: Mutex<Duration>,
}

impl Clock {
    /// As after the machine has slept for so long.
    pub fn turn(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
    }
}

impl BootClock for Clock {
    fn now(&self) -> Duration {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        BEGUN.elapsed() + *self.ahead.lock().unwrap()
    }
}

/// Starts a relay of this name.
pub fn start(database: &Arc<dyn Database>, world: &World, life: &Arc<Life>, host: &str) -> Relay {
    started(Fragile::new(database.clone().outbox(), life), world, host)
}

/// Starts a relay of this name over this outbox.
pub fn started(outbox: Fragile, world: &World, host: &str) -> Relay {
    started_as(outbox, world, config(host))
}

/// Starts a relay that is as this says.
pub fn started_as(outbox: Fragile, world: &World, config: RelayConfig) -> Relay {
    let ways = world.ways(&outbox.life);
    let mail: Arc<dyn MailSender> = ways.clone();
    Relay::start(&Handle::current(), Arc::new(outbox), ways, Some(mail), config)
}

/// Starts a relay that was not told how mail leaves.
pub fn started_without_mail(outbox: Fragile, world: &World, host: &str) -> Relay {
    let ways = world.ways(&outbox.life);
    Relay::start(&Handle::current(), Arc::new(outbox), ways, None, config(host))
}

/// A stop gives the batch under way up at once here, but never a mail.
fn config(host: &str) -> RelayConfig {
    let (stop, clock) = (Duration::from_millis(50), Arc::<Clock>::default());
    RelayConfig { lease: LEASE, stop, ..RelayConfig::new("fleet", host, "orders", clock) }
}

/// Waits for a condition.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LONG, "{what} has not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the outbox is empty.
pub async fn emptied(outbox: &dyn Outbox) {
    until("an empty outbox", async || {
        let OutboxCounts { records, mails, .. } = outbox.counts().await.unwrap();
        records + mails == 0
    })
    .await;
}

/// Waits for what a relay says.
pub async fn says(relay: &Relay, expected: impl Fn(&RelayStatus) -> bool) -> RelayStatus {
    let mut status = relay.status();
    let told = tokio::time::timeout(LONG, status.wait_for(|status| expected(status))).await;
    told.unwrap_or_else(|_| panic!("the relay does not say so")).unwrap().clone()
}

/// A handler's run, event after event.
pub struct Writer {
    database: Arc<dyn Database>,
    fence: Fence,
    next: i64,
}

impl Writer {
    pub async fn new(database: &Arc<dyn Database>) -> Self {
        database.settle_start(&key(), &[(0, 0)]).await.unwrap();
        Self { database: database.clone(), fence: take(&**database).await.fence, next: 0 }
    }

    /// As an owner does whose database was started again.
    pub async fn take_anew(&mut self) {
        self.fence = take(&*self.database).await.fence;
    }

    /// One run with these rows, each of an event of its own.
    pub async fn write(&mut self, rows: Vec<OutboxRow>) {
        let run = self.database.begin(&self.fence).await.unwrap();
        let rows: Vec<OutboxRow> =
            (self.next..).zip(rows).map(|(event_offset, row)| OutboxRow { event_offset, ..row }).collect();
        let endings: Vec<_> = rows.iter().map(|row| (row.event_offset, EndedAs::Done)).collect();
        self.next += i64::try_from(rows.len()).unwrap();
        run.finish(&rows, &endings, LONG).await.unwrap();
    }
}

/// A record's row.
pub fn record(topic: &str, key: &str, value: &str) -> OutboxRow {
    let record = OutgoingRecord {
        topic: topic.to_owned(),
        key: Some(Bytes::from(key.to_owned())),
        value: Some(Bytes::from(value.to_owned())),
        headers: Vec::new(),
    };
    record_row(0, 0, &record)
}

/// A mail's row.
pub fn mail(message_id: &str) -> OutboxRow {
    let letter = Letter {
        message_id: message_id.to_owned(),
        from: "a@example.org".to_owned(),
        to: vec!["b@example.org".to_owned()],
        message: b"Subject: x\r\n\r\n".to_vec(),
    };
    mail_row(0, 0, &letter)
}

/// Some rows: keys in turn, values that count up.
fn some_rows(numbers: std::ops::Range<usize>) -> Vec<OutboxRow> {
    let row = |number: usize| match number % 5 {
        4 => mail(&format!("{number}@keylane")),
        rest => {
            record(["payouts", "entries"][rest % 2], &format!("k{}", number % 3), &format!("{number:06}"))
        }
    };
    numbers.map(row).collect()
}

/// Each record once, in the order of its key; each mail once, but for those that may have gone twice.
fn check(world: &World, written: usize, twice: &BTreeSet<String>) {
    let mut values: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    let seen = world.seen();
    for (topic, key, value) in &seen {
        values.entry((topic.clone(), key.clone())).or_default().push(value.clone());
    }
    for ((topic, key), values) in &values {
        assert!(values.is_sorted_by(|one, other| one < other), "{topic} {key}: {values:?}");
    }
    let mails = world.mails();
    let expected = (0..written).filter(|number| number % 5 == 4).count();
    assert_eq!((seen.len(), mails.len()), (written - expected, expected));
    for (message_id, times) in &mails {
        assert!(*times == 1 || twice.contains(message_id), "{message_id} was sent {times} times");
    }
}

/// The Message-IDs in the outbox.
async fn unsent_mails(outbox: &dyn Outbox) -> BTreeSet<String> {
    let rows = outbox.list(false, 1_000).await.unwrap();
    let mails = rows.into_iter().filter(|row| row.row.kind == OutboxKind::Mail);
    mails.map(|row| String::from_utf8(row.row.key.unwrap()).unwrap()).collect()
}

/// The mails that the server has taken and the outbox has still: those alone may go again.
async fn taken_and_unsent(world: &World, outbox: &dyn Outbox) -> BTreeSet<String> {
    let taken = world.mails();
    unsent_mails(outbox).await.into_iter().filter(|mail| taken.contains_key(mail)).collect()
}

/// Each step, and how often it was made before; once more for a relay that begins a numbering.
fn ends() -> impl Iterator<Item = (&'static str, u32, bool)> {
    let times = |step| [(step, 0, true), (step, 0, false), (step, 1, false), (step, 2, false)];
    STEPS.into_iter().flat_map(times)
}

/// Waits until a relay has stopped where it should. A step that is not made again leaves an empty outbox.
async fn ended(life: &Life, outbox: &dyn Outbox, surely: bool) {
    if surely {
        let stopped = tokio::time::timeout(LONG, life.stopped()).await;
        assert!(stopped.is_ok(), "the relay does not come to this step");
        return;
    }
    tokio::select! {
        _ = life.stopped() => {}
        () = emptied(outbox) => {}
    }
}

/// A relay dies at each step in turn; another one, of another host, goes on.
pub async fn one_that_dies_at_any_step_is_followed(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let (mut written, mut twice) = (0, BTreeSet::new());
    for (step, times, begins) in ends() {
        if begins {
            outbox.reset().await.unwrap();
        }
        let life = Life::until(step, times);
        let first = start(&ground.here, &world, &life, "first");
        writer.write(some_rows(written..written + 6)).await;
        writer.write(some_rows(written + 6..written + 10)).await;
        written += 10;
        ended(&life, &*outbox, begins).await;
        drop(first);
        twice.extend(taken_and_unsent(&world, &*outbox).await);
        let second = start(&ground.there, &world, &Life::immortal(), "second");
        emptied(&*outbox).await;
        second.stop().await;
        check(&world, written, &twice);
    }
}

/// The same, but the first one was only stopped, and goes on while the other one relays.
pub async fn one_that_is_stopped_at_any_step_does_no_harm(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let (mut written, mut twice) = (0, BTreeSet::new());
    for (step, times, begins) in ends() {
        if begins {
            outbox.reset().await.unwrap();
        }
        let life = Life::until(step, times);
        let first = start(&ground.here, &world, &life, "first");
        writer.write(some_rows(written..written + 10)).await;
        written += 10;
        ended(&life, &*outbox, begins).await;
        // One that goes on begins no mail: its lease is over.
        twice.extend(taken_and_unsent(&world, &*outbox).await);
        let second = start(&ground.there, &world, &Life::immortal(), "second");
        if life.has_stopped() {
            writer.write(some_rows(written..written + 5)).await;
            written += 5;
            emptied(&*outbox).await;
        }
        life.go_on();
        writer.write(some_rows(written..written + 10)).await;
        written += 10;
        emptied(&*outbox).await;
        first.stop().await;
        second.stop().await;
        check(&world, written, &twice);
    }
}

/// An outbox may hold so much that counting it takes longer than a lease is good for.
pub async fn one_that_counts_for_long_goes_on_relaying(ground: &Ground) {
    // Longer than a busy machine keeps a relay waiting.
    const LEASE: Duration = Duration::from_secs(2);
    let config = |host: &str| RelayConfig { lease: LEASE, ..config(host) };
    let world = World::default();
    let mut writer = Writer::new(&ground.here).await;
    let slow = Fragile::new(ground.here.clone().outbox(), &Life::immortal());
    let first = started_as(Fragile { counting: LEASE * 10, ..slow }, &world, config("first"));
    says(&first, |status| *status == RelayStatus::Relaying).await;
    let quick = Fragile::new(ground.there.clone().outbox(), &Life::immortal());
    let second = started_as(quick, &world, config("second"));
    let standby = RelayStatus::Standby { by: "first".to_owned() };
    says(&second, |status| *status == standby).await;
    tokio::time::sleep(LEASE * 3).await;
    assert_eq!(*second.status().borrow(), standby, "nobody had to take over");
    writer.write(some_rows(0..10)).await;
    emptied(&*ground.there.clone().outbox()).await;
    let stopping = Instant::now();
    first.stop().await;
    assert!(stopping.elapsed() < LEASE * 3, "nor does a stop wait for it");
    second.stop().await;
    check(&world, 10, &BTreeSet::new());
}

/// One relays, the other one stands by and takes over when the first one stops.
pub async fn one_relays_and_the_other_stands_by(ground: &Ground) {
    let (world, outbox) = (World::default(), ground.here.clone().outbox());
    let mut writer = Writer::new(&ground.here).await;
    let first = start(&ground.here, &world, &Life::immortal(), "first");
    says(&first, |status| *status == RelayStatus::Relaying).await;
    let second = start(&ground.there, &world, &Life::immortal(), "second");
    let standby = RelayStatus::Standby { by: "first".to_owned() };
    says(&second, |status| *status == standby).await;
    writer.write(some_rows(0..10)).await;
    emptied(&*outbox).await;
    first.stop().await;
    says(&second, |status| *status == RelayStatus::Relaying).await;
    writer.write(some_rows(10..20)).await;
    emptied(&*outbox).await;
    second.stop().await;
    check(&world, 20, &BTreeSet::new());
}
