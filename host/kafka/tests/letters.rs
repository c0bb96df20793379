//! Dead letters, from their burial to what an operator sees of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is to end the test"
)]

mod support;

use bytes::Bytes;
use keylane_engine::{DeadLetters, FailureClass, OutgoingRecord, Publisher};
use keylane_kafka::{
    DeadLetterOptions, Dlq, KafkaDeadLetters, KafkaError, KafkaPublisher, LetterFilter, LetterPlace,
    RedriveOptions,
};
use rdkafka::Message;
use support::letters::{Graveyard, HANDLER, everything, header, headers_of, letter, noise, numbers};
use support::{Cluster, meters, unique, until};

fn record(topic: &str, value: Bytes) -> OutgoingRecord {
    let key = Some(Bytes::from_static(b"k"));
    OutgoingRecord { topic: topic.to_owned(), key, value: Some(value), headers: Vec::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_record_of_a_topic_fits_into_its_dead_letters() {
    let cluster = Cluster::start().await;
    let yard = Graveyard::new(&cluster).await;
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    // As large as a topic with Kafka's own limit takes it, and nothing that compression makes smaller.
    let value = noise(1_048_000);
    publisher.publish(record(&yard.topic, value.clone())).await.unwrap().await.unwrap();
    publisher.publish(record(&yard.topic, noise(1_049_000))).await.unwrap().await.unwrap_err();
    yard.dead_letters.bury(letter(&yard.topic, 41, Some(b"k"), Some(&value))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_lies_beside_its_topic() {
    let cluster = Cluster::start().await;
    let yard = Graveyard::new(&cluster).await;
    let sources = std::slice::from_ref(&yard.topic);
    let again = cluster.admin().ensure_dead_letter_topics(sources, &yard.options).await.unwrap();
    assert_eq!(again, vec![yard.dlq_topic()], "a topic that is there stays as it is");
    let retries = cluster.admin().ensure_retry_topics(sources, HANDLER).await.unwrap();
    assert_eq!(retries, [yard.retry_topic()]);
    for name in again.iter().chain(&retries) {
        let found = cluster.admin().check_topics(std::slice::from_ref(name)).await.unwrap();
        assert_eq!(found.first().unwrap().partitions, 3);
    }
    yard.dead_letters.bury(letter(&yard.topic, 41, Some(b"\xff\x00"), Some(b"{broken"))).await.unwrap();
    let messages = everything(&cluster, &yard.dlq_topic(), 3);
    assert_eq!(messages.len(), 1);
    let message = messages.first().unwrap();
    assert_eq!((message.key(), message.payload()), (Some(&b"\xff\x00"[..]), Some(&b"{broken"[..])));
    let headers = headers_of(message);
    assert_eq!(headers.first().unwrap(), &header("ce_type", Some(b"\xfe")));
    for (name, value) in [
        ("keylane-origin-topic", yard.topic.as_str()),
        ("keylane-origin-partition", "2"),
        ("keylane-origin-offset", "41"),
        ("keylane-error-class", "reject"),
        ("keylane-error", "broken JSON"),
    ] {
        assert!(headers.contains(&header(name, Some(value.as_bytes()))), "{name}: {headers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_topic_takes_the_letters_of_all() {
    let cluster = Cluster::start().await;
    let (small, large) = (cluster.topic(1).await, cluster.topic(5).await);
    let graveyard = unique("graveyard");
    let options = DeadLetterOptions {
        topic: Some(graveyard.clone()),
        ..DeadLetterOptions::new(HANDLER, "shop.accounting", "r1")
    };
    let sources = [small.clone(), large.clone()];
    let names = cluster.admin().ensure_dead_letter_topics(&sources, &options).await.unwrap();
    assert_eq!(names, vec![graveyard.clone()]);
    let found = cluster.admin().check_topics(&names).await.unwrap();
    assert_eq!(found.first().unwrap().partitions, 5, "as many as the largest source");
    let dead_letters = KafkaDeadLetters::new(KafkaPublisher::new(&cluster.config()).unwrap(), options);
    for topic in [&small, &large] {
        dead_letters.bury(letter(topic, 0, Some(b"k"), None)).await.unwrap();
    }
    assert_eq!(everything(&cluster, &graveyard, 5).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_counted_and_shown() {
    let cluster = Cluster::start().await;
    let yard = Graveyard::new(&cluster).await;
    yard.bury(0..20).await;
    let mut trapped = letter(&yard.topic, 99, Some(b"special"), Some(b"\xff"));
    trapped.class = FailureClass::Trap;
    yard.dead_letters.bury(trapped).await.unwrap();
    let dlq = yard.dlq(&cluster);
    let lists = dlq.list().await.unwrap();
    assert_eq!(lists.len(), 3);
    let sum = |of: fn(&keylane_kafka::PartitionLetters) -> u64| lists.iter().map(of).sum::<u64>();
    assert_eq!((sum(|list| list.letters), sum(|list| list.waiting), sum(|list| list.redriven)), (21, 21, 0));
    let of_class = |class: &str| lists.iter().filter_map(|list| list.classes.get(class)).sum::<u64>();
    assert_eq!((of_class("reject"), of_class("trap")), (20, 1));

    let newest = dlq.show(LetterFilter::default(), 1).await.unwrap();
    let newest = newest.first().unwrap();
    assert_eq!(newest.key.as_deref(), Some(&b"special"[..]));
    let place =
        LetterPlace { topic: newest.topic.clone(), partition: newest.partition, offset: newest.offset };
    let at = |place: LetterPlace| LetterFilter { places: vec![place], ..LetterFilter::default() };
    assert_eq!(dlq.show(at(place.clone()), 10).await.unwrap(), vec![newest.clone()]);
    assert_eq!(dlq.show(at(LetterPlace { offset: 1_000, ..place }), 10).await.unwrap(), []);
    assert_eq!(dlq.show(LetterFilter::default(), 5).await.unwrap().len(), 5);
    let dry = RedriveOptions { dry_run: true, ..RedriveOptions::default() };
    assert_eq!(dlq.redrive(dry).await.unwrap().sent(), 21);
    assert!(everything(&cluster, &yard.retry_topic(), 3).is_empty());
}

/// Two topics of one handler, with a letter at the same offset of the same partition of each.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_of_one_topic() {
    let cluster = Cluster::start().await;
    let sources = [cluster.topic(1).await, cluster.topic(1).await];
    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    cluster.admin().ensure_dead_letter_topics(&sources, &options).await.unwrap();
    let publisher = KafkaPublisher::new(&cluster.config()).unwrap();
    let dead_letters = KafkaDeadLetters::new(publisher, options.clone());
    for source in &sources {
        dead_letters.bury(letter(source, 0, Some(b"k"), Some(source.as_bytes()))).await.unwrap();
    }
    let dlq = Dlq::new(cluster.config(), "shop", &options, &sources);
    let second = options.topic_of(&sources[1]);
    let places = vec![LetterPlace { topic: second.clone(), partition: 0, offset: 0 }];
    let filter = LetterFilter { places, ..LetterFilter::default() };
    let shown = dlq.show(filter.clone(), 10).await.unwrap();
    assert_eq!(shown.iter().map(|letter| &letter.topic).collect::<Vec<_>>(), [&second]);
    let dry = RedriveOptions { dry_run: true, filter, ..RedriveOptions::default() };
    assert_eq!(dlq.redrive(dry).await.unwrap().sent(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn burials_are_counted() {
    meters::install();
    let handler = unique("undertaker");
    let label = format!("handler={handler}");
    let options = DeadLetterOptions::new(&handler, "shop.accounting", "r1");
    let cluster = Cluster::start().await;
    let topic = cluster.topic(3).await;
    cluster.admin().ensure_dead_letter_topics(std::slice::from_ref(&topic), &options).await.unwrap();
    let graves = KafkaDeadLetters::new(KafkaPublisher::new(&cluster.config()).unwrap(), options.clone());
    graves.bury(letter(&topic, 1, Some(b"k"), None)).await.unwrap();
    graves.bury(letter(&topic, 2, Some(b"k"), Some(&noise(3 * 1024 * 1024)))).await.unwrap_err();
    let counted = |name| meters::count(name, &[&label]);
    assert_eq!(counted("keylane_dead_letters_refused_total"), 1);
    let waiting = || meters::gauge("keylane_dead_letters_waiting", &[&label]);
    assert_eq!(waiting(), Some(0.0));

    let nobody = KafkaPublisher::new(&Cluster::at("127.0.0.1:1").config()).unwrap();
    let graves = KafkaDeadLetters::new(nobody, options);
    let burial = tokio::spawn(async move { graves.bury(letter(&topic, 3, Some(b"k"), None)).await });
    // The producers' own metrics have no label, and other tests have producers, too.
    let untold = || meters::count("keylane_kafka_topics_untold_total", &[]);
    until("a letter waits for the broker", || waiting() == Some(1.0) && untold() >= 1).await;
    assert_eq!(meters::gauge("keylane_kafka_producer_in_flight_kib_max", &[]), Some(32.0 * 1024.0));
    burial.abort();
    until("nothing waits any more", || waiting() == Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_redriven_once() {
    let cluster = Cluster::start().await;
    let yard = Graveyard::new(&cluster).await;
    let dlq = yard.dlq(&cluster);
    assert_eq!(dlq.redrive(RedriveOptions::default()).await.unwrap().sent(), 0, "nothing needs nothing");
    yard.bury(0..3).await;
    assert_eq!(dlq.redrive(RedriveOptions::default()).await.unwrap().sent(), 3);
    assert_eq!(dlq.redrive(RedriveOptions::default()).await.unwrap().sent(), 0);
    assert_eq!(numbers(&everything(&cluster, &yard.retry_topic(), 3)), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_are_nowhere_are_an_error() {
    let cluster = Cluster::start().await;
    let topic = cluster.topic(1).await;
    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    let dlq = Dlq::new(cluster.config(), "shop", &options, std::slice::from_ref(&topic));
    let error = dlq.list().await.unwrap_err();
    assert!(matches!(&error, KafkaError::MissingTopics { topics, .. } if topics.len() == 1), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_are_an_error_worth_another_try() {
    let options = DeadLetterOptions::new(HANDLER, "shop.accounting", "r1");
    let nobody = Cluster::at("127.0.0.1:1");
    let dlq = Dlq::new(nobody.config(), "shop", &options, &["tasks".to_owned()]);
    let error = dlq.redrive(RedriveOptions::default()).await.unwrap_err();
    assert!(matches!(error, KafkaError::Unreachable { .. }) && error.can_retry(), "{error}");
}
