//! Brokers that are away, topics that are not there: said, and mended without a restart.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is to end the test")]

mod support;

use std::net::TcpListener;
use std::time::{Duration, Instant};

use keylane_devbroker::{Broker, BrokerOptions};
use keylane_kafka::{Admin, Health, Intake, KafkaConfig, KafkaError, NewTopic, Start};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use support::{Cluster, Recorder, consumer, unique, until, until_assigned, until_health};
use tokio::runtime::Handle;

const LIMIT: Duration = Duration::from_secs(5);

/// A port that nobody listens on, for now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn broker_at(port: u16) -> Broker {
    Broker::start(BrokerOptions { port, ..BrokerOptions::default() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_broker_is_told_and_awaited() {
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut config = KafkaConfig::new(&address);
    config.properties.insert("reconnect.backoff.max.ms".to_owned(), "500".to_owned());
    let admin = Admin::new(&config).unwrap();
    let error = admin.reach().await.unwrap_err();
    assert!(matches!(error, KafkaError::Unreachable { .. }) && error.can_retry(), "{error:?}");
    let told = error.to_string();
    assert!(told.contains(&address) && told.contains("refused"), "{told}");

    let (topic, recorder) = (unique("topic"), Recorder::new());
    let asked = consumer(&unique("group"), &topic, Start::Earliest);
    let intake = Intake::start(&config, asked, recorder.owners(), None, Handle::current()).unwrap();
    let mut health = intake.health();
    let told = until_health(&mut health, "connecting, with the reason", |told| {
        matches!(told, Health::Connecting { last_error: Some(_), .. })
    })
    .await;
    assert!(told.to_string().contains("refused"), "{told}");

    let _broker = broker_at(port).await;
    tokio::time::timeout(LIMIT, admin.wait_until_reachable()).await.unwrap();
    admin.create_topics(&[NewTopic::new(&topic, 1)]).await.unwrap();
    let cluster = Cluster::at(&address);
    cluster.produce(&topic, 0, 0..5);
    until("records once the broker is there", || recorder.count() == 5).await;
    intake.stop(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_holds_no_stop_up() {
    let port = free_port();
    let broker = broker_at(port).await;
    let cluster = Cluster::at(&broker.bootstrap());
    let topic = cluster.topic(1).await;
    let recorder = Recorder::new();
    let intake = cluster.intake(consumer(&unique("group"), &topic, Start::Earliest), &recorder);
    until_assigned(&intake, 1).await;
    cluster.produce(&topic, 0, 0..5);
    until("records", || recorder.count() == 5).await;
    broker.stop().await;
    let mut health = intake.health();
    until_health(&mut health, "connecting again", |told| matches!(told, Health::Connecting { .. })).await;
    let begun = Instant::now();
    let farewell = intake.stop(Duration::from_secs(1)).await;
    assert!(farewell.drained, "nothing was running: {farewell:?}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_topic_is_named_as_the_reason() {
    let cluster = Cluster::start().await;
    let (topic, recorder) = (unique("topic"), Recorder::new());
    let mut config = consumer(&unique("group"), &topic, Start::Earliest);
    config.assignment_notice = Duration::from_millis(300);
    let intake = cluster.intake(config, &recorder);
    let mut health = intake.health();
    let told = until_health(&mut health, "the reason", |told| {
        matches!(told, Health::Unassigned { reason: Some(_), .. })
    })
    .await;
    assert_eq!(told.to_string(), format!("no partition assigned: unknown topic: {topic}"));
    cluster.admin().create_topics(&[NewTopic::new(&topic, 2)]).await.unwrap();
    until_assigned(&intake, 2).await;
    intake.stop(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_members_than_partitions_is_named_as_the_reason() {
    let cluster = Cluster::start().await;
    let (topic, group, recorder) = (cluster.topic(1).await, unique("group"), Recorder::new());
    let first = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until_assigned(&first, 1).await;
    let mut config = consumer(&group, &topic, Start::Earliest);
    config.assignment_notice = Duration::from_millis(300);
    let second = cluster.intake(config, &recorder);
    let (mut health, mut other) = (second.health(), first.health());
    let told = tokio::select! {
        told = until_health(&mut health, "the reason", |told| matches!(told, Health::Unassigned { reason: Some(_), .. })) => told,
        told = until_health(&mut other, "the reason", |told| matches!(told, Health::Unassigned { reason: Some(_), .. })) => told,
    };
    assert!(told.to_string().contains("the topics have 1 partitions"), "{told}");
    first.stop(LIMIT).await;
    second.stop(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_topics_are_named_and_not_created_by_asking() {
    let cluster = Cluster::start().await;
    let (present, absent) = (cluster.topic(3).await, unique("topic"));
    let admin = cluster.admin();
    for _ in 0..2 {
        let error = admin.check_topics(&[present.clone(), absent.clone()]).await.unwrap_err();
        match &error {
            KafkaError::MissingTopics { topics, .. } => assert_eq!(topics.join(","), absent),
            other => panic!("{other}"),
        }
    }
    let found = admin.check_topics(std::slice::from_ref(&present)).await.unwrap();
    assert_eq!(found.first().unwrap().partitions, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_speaks_another_protocol_is_named_as_the_reason() {
    let cluster = Cluster::start().await;
    let (topic, group, recorder) = (cluster.topic(1).await, unique("group"), Recorder::new());
    let mut foreign = ClientConfig::new();
    foreign.set("bootstrap.servers", &cluster.bootstrap).set("group.id", &group);
    foreign.set("partition.assignment.strategy", "range");
    let foreign: BaseConsumer = foreign.create().unwrap();
    foreign.subscribe(&[&topic]).unwrap();
    until("the foreign member's assignment", || {
        drop(foreign.poll(Duration::from_millis(50)));
        foreign.assignment().unwrap().count() == 1
    })
    .await;
    let mut config = consumer(&group, &topic, Start::Earliest);
    config.assignment_notice = Duration::from_millis(300);
    let intake = cluster.intake(config, &recorder);
    let mut health = intake.health();
    let told = until_health(
        &mut health,
        "the reason",
        |told| matches!(told, Health::Unassigned { reason: Some(reason), .. } if reason.contains("protocol")),
    );
    let told = tokio::select! {
        told = told => told,
        () = async { loop { drop(foreign.poll(Duration::ZERO)); tokio::time::sleep(Duration::from_millis(20)).await } } => unreachable!(),
    };
    assert!(told.to_string().contains("another member of the group speaks another protocol"), "{told}");
    drop(foreign);
    until_assigned(&intake, 1).await;
    intake.stop(LIMIT).await;
}
