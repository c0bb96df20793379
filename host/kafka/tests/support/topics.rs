//! What befalls topics: they are made anew, and retention cuts them.

use std::time::Duration;

use keylane_kafka::{ConsumerConfig, Lost, NewTopic, Start};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Cluster, PATIENCE, consumer, unique};

/// The client library's own way to change topics.
pub fn admin(cluster: &Cluster) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &cluster.bootstrap).create().unwrap()
}

/// Deletes the topic.
pub async fn delete(cluster: &Cluster, topic: &str) {
    let deleted = admin(cluster).delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
    deleted.into_iter().next().unwrap().unwrap();
}

/// Deletes the topic and makes it again under its name.
pub async fn make_anew(cluster: &Cluster, topic: &str) {
    delete(cluster, topic).await;
    let give_up = tokio::time::Instant::now() + PATIENCE;
    // A broker may take a while to forget a name.
    while let Err(error) = cluster.admin().create_topics(&[NewTopic::new(topic, 1)]).await {
        assert!(tokio::time::Instant::now() < give_up, "{error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Removes what lies below the offset, as retention would.
pub async fn cut(cluster: &Cluster, topic: &str, below: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(below)).unwrap();
    let done = admin(cluster).delete_records(&list, &AdminOptions::new()).await.unwrap();
    done.elements().first().unwrap().error().unwrap();
}

/// A commit at 2, and nothing left of the records below 6.
pub async fn cut_before_it_was_read(cluster: &Cluster, lost: Lost) -> (String, ConsumerConfig) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    cluster.commit(&group, &topic, 0, 2, "");
    cut(cluster, &topic, 6).await;
    let config = ConsumerConfig { lost, ..consumer(&group, &topic, Start::Earliest) };
    (topic, config)
}
