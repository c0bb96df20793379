//! The topics in which redrives and relays note what they have sent: one that does not keep the notes is refused
//! before anything is sent. They are the same for all of a cluster, so each test has a broker of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is to end the test")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_effects::{Position, RelaySenders, SendError};
use keylane_engine::OutgoingRecord;
use keylane_kafka::{KafkaError, KafkaRelay, NewTopic, RedriveOptions};
use support::Cluster;
use support::letters::{Graveyard, everything, numbers};
use support::topics::delete;

const REDRIVES: &str = "_keylane.redrive";
const RELAYS: &str = "_keylane.relay";
/// The cluster's own policy, where a broker made the topic or an operator did not say another one; and one that keeps
/// the latest of each key only until it is old.
const FORGETS: [&str; 2] = ["delete", "compact,delete"];

/// Makes a topic with this `cleanup.policy`.
async fn make(cluster: &Cluster, topic: &str, policy: &str) {
    let mut new = NewTopic::new(topic, 1);
    new.settings.insert("cleanup.policy".to_owned(), policy.to_owned());
    cluster.admin().create_topics(&[new]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_whose_notes_would_be_forgotten_sends_nothing() {
    let broker = Broker::start(BrokerOptions::default()).await.unwrap();
    let cluster = Cluster::at(&broker.bootstrap());
    let yard = Graveyard::new(&cluster).await;
    yard.bury(0..3).await;
    let dlq = yard.dlq(&cluster);
    for policy in FORGETS {
        make(&cluster, REDRIVES, policy).await;
        let error = dlq.redrive(RedriveOptions::default()).await.unwrap_err();
        let is_of_it = matches!(&error, KafkaError::Topic { topic, .. } if topic == REDRIVES);
        assert!(is_of_it && !error.can_retry(), "{policy}: {error}");
        assert!(error.to_string().contains("cleanup.policy is not compact"), "{policy}: {error}");
        assert!(everything(&cluster, &yard.retry_topic(), 3).is_empty());
        delete(&cluster, REDRIVES).await;
    }

    // What stands in the way is its policy, not that it is there.
    make(&cluster, REDRIVES, "compact").await;
    assert_eq!(dlq.redrive(RedriveOptions::default()).await.unwrap().sent(), 3);
    assert_eq!(numbers(&everything(&cluster, &yard.retry_topic(), 3)), [0, 1, 2]);
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_notes_would_be_forgotten_sends_nothing() {
    let broker = Broker::start(BrokerOptions::default()).await.unwrap();
    let cluster = Cluster::at(&broker.bootstrap());
    let topic = cluster.topic(1).await;
    let relay = KafkaRelay::new(&cluster.config(), "shop", Duration::from_secs(10));
    for policy in FORGETS {
        make(&cluster, RELAYS, policy).await;
        let Err(SendError::Failed(reason)) = relay.open("database").await else {
            panic!("{policy}: the way is open")
        };
        assert!(reason.contains(RELAYS) && reason.contains("cleanup.policy is not compact"), "{reason}");
        delete(&cluster, RELAYS).await;
    }

    make(&cluster, RELAYS, "compact").await;
    let (mut sender, position) = relay.open("database").await.unwrap();
    assert_eq!(position, None);
    let value = Some(Bytes::from_static(b"1"));
    let record = OutgoingRecord { topic: topic.clone(), key: None, value, headers: Vec::new() };
    let sent = Position { numbering: 1, batch: 1 };
    sender.send(vec![record], sent).await.unwrap();
    drop(sender);
    assert_eq!(relay.open("database").await.unwrap().1, Some(sent), "it is noted");
    assert_eq!(numbers(&everything(&cluster, &topic, 1)), [1]);
    broker.stop().await;
}
