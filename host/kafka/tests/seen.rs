//! What is seen of an intake from outside: its metrics, and whether its polling thread turns.

#![allow(clippy::unwrap_used, reason = "a failed expectation is to end the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keylane_engine::{Assignment, Inbox, Owners};
use keylane_kafka::{Health, Intake, Lost, Start};
use support::topics::cut_before_it_was_read;
use support::{Cluster, Recorder, consumer, meters, unique, until, until_assigned, until_health};
use tokio::runtime::Handle;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const LIMIT: Duration = Duration::from_secs(5);

/// Four records are lost, four are left, and the last of them is at work.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_measured_stands_under_its_name() {
    meters::install();
    let cluster = Cluster::start().await;
    let (topic, config) = cut_before_it_was_read(&cluster, Lost::GoOn).await;
    let (of_topic, of_group) = (format!("topic={topic}"), format!("group={}", config.group));
    let recorder = Recorder::new();
    recorder.hold(0, 9);
    let intake = cluster.intake(config, &recorder);
    let shown = |name: &str, label: &str| meters::gauge(name, &[label]);
    until("the watermark", || shown("keylane_watermark_offset", &of_topic) == Some(9.0)).await;
    until("the lag", || shown("keylane_lag_records", &of_topic) == Some(1.0)).await;
    until("the partitions", || shown("keylane_kafka_partitions", &of_group) == Some(1.0)).await;
    until("the age of the turn", || shown("keylane_kafka_poll_age_seconds", &of_group).is_some()).await;
    until("no commit in flight", || shown("keylane_kafka_commits_in_flight", &of_group) == Some(0.0)).await;
    assert_eq!(meters::count("keylane_records_lost_total", &[&of_topic]), 4);
    assert_eq!(meters::count("keylane_kafka_records_total", &[&of_group]), 4);
    assert!(meters::count("keylane_kafka_commits_total", &[&of_group, "outcome=ok"]) > 0);
    recorder.release(0, 9);
    until("no lag", || shown("keylane_lag_records", &of_topic) == Some(0.0)).await;
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(shown("keylane_kafka_partitions", &of_group), Some(0.0));
}

/// Owners whose making hangs, and with it the polling thread.
struct Hanging {
    owners: Arc<dyn Owners>,
    hangs: Arc<AtomicBool>,
}

impl Owners for Hanging {
    fn assign(&self, assignment: Assignment) -> Inbox {
        while self.hangs.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.owners.assign(assignment)
    }
}

/// A fault of the polling thread in the midst of a revocation: where it writes that to the log.
struct Trap {
    group: String,
}

impl<S: tracing::Subscriber> Layer<S> for Trap {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        assert!(!(told.is_revocation && told.group == self.group), "on purpose");
    }
}

#[derive(Default)]
struct Told {
    is_revocation: bool,
    group: String,
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "group" {
            value.clone_into(&mut self.group);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.is_revocation |= field.name() == "message" && format!("{value:?}") == "revoked";
    }
}

/// Nothing is answered then, and still its end is told, and the other member gets everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_falls_says_so_and_leaves() {
    let cluster = Cluster::start().await;
    let config = consumer(&unique("group"), &cluster.topic(2).await, Start::Earliest);
    tracing_subscriber::registry().with(Trap { group: config.group.clone() }).init();
    let falling = cluster.intake(config.clone(), &Recorder::new());
    until_assigned(&falling, 2).await;
    let other = cluster.intake(config, &Recorder::new());
    let falls = |health: &Health| matches!(health, Health::Failed { .. });
    until_health(&mut falling.health(), "the fall is told", falls).await;
    until_assigned(&other, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pulse_tells_of_a_polling_thread_that_hangs() {
    let cluster = Cluster::start().await;
    let (topic, hangs) = (cluster.topic(1).await, Arc::new(AtomicBool::new(true)));
    let owners = Arc::new(Hanging { owners: Recorder::new().owners(), hangs: hangs.clone() });
    let config = consumer(&unique("group"), &topic, Start::Earliest);
    let intake = Intake::start(&cluster.config(), config, owners, None, Handle::current()).unwrap();
    let pulse = intake.pulse();
    let long = Duration::from_secs(3);
    until("a turn that takes long", || pulse.turn_age().unwrap() > long).await;
    hangs.store(false, Ordering::Release);
    until_assigned(&intake, 1).await;
    until("a turn that does not", || pulse.turn_age().unwrap() < long).await;
    assert!(intake.stop(LIMIT).await.left);
    assert_eq!(pulse.turn_age(), None, "a thread that has ended does not hang");
}
