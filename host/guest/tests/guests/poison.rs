//! Events that poison their handler's database, from their first attempt to their dead letter: through the engine,
//! with real runs, real claims, and a partition that is taken anew whenever it is given up. Each of them ends,
//! and its neighbours are done once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{ClaimsConfig, HandlerClaims, Value};
use keylane_engine::{
    Assignment, BootClock, Claims, DeadLetter, DeadLetters, Delivery, Event, Filter, HandlerEngine,
    HandlerOptions, HostBudget, Inbox, InboxLimits, LaneRule, Lease, OutgoingRecord, Owners as _, Ownership,
    Policy, PublishError, Token, TopicId, TopicPartition, Untyped,
};
use keylane_guest::GuestRunner;

use crate::fake_publisher::Acks;
use crate::faulty::{At, Fault};
use crate::stage::{Loaded, Stage, attempt};
use crate::transactions::outbox;

const TABLES: &str = "
    CREATE TABLE t (a INTEGER UNIQUE);
    CREATE TABLE parent (id INTEGER PRIMARY KEY);
    CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
";
/// Statements that name it are the poison of [`crate::faulty::POISON`].
const POISON: &str = "do INSERT INTO t VALUES (666)";
const TOPIC: TopicId = TopicId::new([7; 16]);
/// Attempts before the dead letter.
const ATTEMPTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(120);

struct Stopped;

impl BootClock for Stopped {
    fn now(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Where no letter of a handler with a database goes.
struct Nowhere;

impl DeadLetters for Nowhere {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        panic!("it belongs into the outbox: {letter:?}")
    }
}

/// One handler in a host.
struct Host {
    loaded: Loaded,
    claims: Arc<HandlerClaims>,
    engine: HandlerEngine<GuestRunner, Nowhere>,
}

impl Host {
    async fn new() -> Self {
        let migrations = tempfile::tempdir().unwrap();
        std::fs::write(migrations.path().join("1_tables.sql"), TABLES).unwrap();
        let stage = Stage::of("script").with_database(Some(migrations.path().to_owned()));
        let loaded = stage.with_reports().with_producer(Acks::AtOnce).load().await;
        let form = |letter: &DeadLetter| OutgoingRecord {
            topic: "letters".to_owned(),
            key: letter.event.key.clone(),
            value: Some(format!("{} {}", letter.class.name(), letter.attempts).into()),
            headers: Vec::new(),
        };
        let database = loaded.database.clone().unwrap();
        let config = ClaimsConfig::new("fleet", "guest", "cluster");
        let claims = Arc::new(HandlerClaims::new(database, config, Arc::new(form)));
        let runner = Arc::new(loaded.runner.clone());
        let runtime = tokio::runtime::Handle::current();
        let port: Arc<dyn Claims> = claims.clone();
        let engine = HandlerEngine::new(options(), runner, Arc::new(Nowhere), Some(port), runtime);
        Self { loaded, claims, engine }
    }

    /// What an intake does: takes the partition, delivers, and takes it anew when it is given up. Answers how often
    /// it was taken until all events had ended.
    async fn until_ended(&self, values: &[&str], lanes: &[u64]) -> usize {
        let event = |(offset, (value, lane)): (u64, (&&str, &u64))| {
            Event::clone(&attempt(offset, *lane, value).event)
        };
        let events: Vec<Event> = (0..).zip(values.iter().zip(lanes)).map(event).collect();
        let end = i64::try_from(events.len()).unwrap();
        self.claims.settle("facts", TOPIC, &[(3, 0)]).await.unwrap();
        for takes in 1..20 {
            let inbox = self.taken(&events, end).await;
            while !inbox.ownership().is_final() {
                if inbox.progress().offset == end {
                    return takes;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert!(matches!(inbox.ownership(), Ownership::Overtaken { .. }), "{:?}", inbox.ownership());
        }
        panic!("taken again and again: {values:?}");
    }

    async fn taken(&self, events: &[Event], next: i64) -> Inbox {
        let partition = TopicPartition { topic: "facts".into(), partition: 3 };
        let hold = self.claims.take(&partition, TOPIC).await.unwrap().unwrap();
        let lease = Lease::new(Duration::from_secs(60), Arc::new(Stopped));
        lease.renew(lease.now());
        let floor = hold.restored.base;
        let inbox = self.engine.assign(Assignment {
            partition,
            token: Token::fresh(),
            restored: hold.restored,
            fence: Some(hold.fence),
            refused: None,
            topic_id: TOPIC,
            lease: Arc::new(lease),
            wake: Arc::new(|| {}),
        });
        let events = events.iter().filter(|event| event.offset >= floor).cloned().collect();
        inbox.deliver(Delivery { events, next }).unwrap();
        inbox
    }
}

fn options() -> HandlerOptions {
    let filter =
        Filter { types: BTreeSet::new(), type_header: "ce_type".to_owned(), untyped: Untyped::Handle };
    let policy = Policy {
        attempts_max: ATTEMPTS,
        backoff_ms: 1,
        backoff_max_ms: 10,
        flood: None,
        ..Policy::default()
    };
    HandlerOptions {
        name: "guest".to_owned(),
        filter,
        lanes: LaneRule::Key,
        policy,
        slots: 1,
        inbox: InboxLimits::default(),
        budget: HostBudget::new(usize::MAX),
        stuck_after: Duration::from_secs(60),
    }
}

/// The event between others of other keys, and before one of its own key. Answers how often the partition was taken
/// until all had ended, and what then lies in the outbox.
async fn story(poison: &str, meets: Option<(At, Fault)>) -> (usize, Vec<(i64, i64, String)>) {
    let host = Host::new().await;
    if let Some((at, fault)) = meets {
        host.loaded.faults.poison(at, fault);
    }
    let insert = |number: i64| format!("do INSERT INTO t VALUES ({number})");
    let values = [&*insert(0), poison, &insert(2), &insert(3)];
    let takes = tokio::time::timeout(PATIENCE, host.until_ended(&values, &[0, 1, 2, 1])).await;
    let takes = takes.unwrap_or_else(|_| panic!("{poison} never ends"));
    let kept = host.loaded.read("SELECT a FROM t ORDER BY a").await;
    assert_eq!(kept, [0, 2, 3].map(|number| [Value::Integer(number)]), "{poison}");
    (takes, outbox(&host.loaded.file()).await)
}

/// The letter of the event, with the class of its last failure and its attempts.
fn letter(said: &str) -> Vec<(i64, i64, String)> {
    vec![(1, 0, said.to_owned())]
}

#[tokio::test]
async fn who_loses_the_connection_in_a_statement_ends_in_a_letter() {
    let (takes, left) = story(POISON, Some((At::Statement, Fault::Lost))).await;
    assert_eq!((takes, left), (3, letter("retry 3")), "two losses are nobody's fault");
}

#[tokio::test]
async fn who_loses_the_connection_at_the_end_of_its_run_ends_in_a_letter() {
    let (takes, left) = story(POISON, Some((At::Finish, Fault::Lost))).await;
    assert_eq!(left, letter("retry 3"));
    assert!((3..=4).contains(&takes), "{takes}: once among others, and twice alone");
}

#[tokio::test]
async fn who_is_in_conflict_each_time_ends_in_a_letter() {
    let (takes, left) = story(POISON, Some((At::Statement, Fault::Conflict))).await;
    assert_eq!((takes, left), (1, letter("retry 3")));
}

#[tokio::test]
async fn whose_commit_is_refused_ends_in_a_letter() {
    let (takes, left) = story("do INSERT INTO child VALUES (77)", None).await;
    assert_eq!((takes, left), (1, letter("retry 3")));
}

#[tokio::test]
async fn whose_record_is_refused_ends_in_a_letter() {
    let record = format!("send {}", "x".repeat(1_000_001));
    let (takes, left) = story(&record, None).await;
    assert_eq!((takes, left), (1, letter("retry 3")));
}

#[tokio::test]
async fn who_traps_or_is_wrong_ends_in_a_letter() {
    for (poison, said) in [("trap", "trap 3"), ("reject no", "reject 1"), ("do INSERT INTO no", "retry 3")] {
        let (takes, left) = story(poison, None).await;
        assert_eq!((takes, left), (1, letter(said)));
    }
}

/// A database that it only reads is away for longer than it has attempts.
#[tokio::test]
async fn whose_reports_are_away_waits_for_them() {
    let host = Host::new().await;
    host.loaded.faults.add(At::Elsewhere, Fault::Lost, 20);
    let ended = host.until_ended(&["look SELECT 1\nsend seen"], &[0]);
    assert_eq!(tokio::time::timeout(PATIENCE, ended).await.unwrap(), 1);
    assert_eq!(host.loaded.faults.left(), 0);
    assert_eq!(outbox(&host.loaded.file()).await, [(0, 0, "seen".to_owned())]);
}
