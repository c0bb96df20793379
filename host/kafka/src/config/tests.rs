//! What may be said of Kafka's properties, and what keylane says itself.

use rdkafka::consumer::BaseConsumer;

use super::*;

fn with(key: &str, value: &str) -> KafkaConfig {
    let mut config = KafkaConfig::new("localhost:9092");
    config.properties.insert(key.to_owned(), value.to_owned());
    config
}

#[test]
fn what_keylane_sets_itself_is_refused_by_name() {
    for (key, _) in REFUSED {
        let told = with(key, "1").check().unwrap_err().to_string();
        assert!(told.contains(&format!("{key:?} cannot be set")), "{told}");
    }
}

#[test]
fn every_property_keylane_sets_is_refused() {
    let config = KafkaConfig::new("localhost:9092");
    let may_change = ["socket.keepalive.enable", "compression.type", "linger.ms"];
    let mut consumer = ConsumerConfig::new("g", vec!["t".to_owned()]);
    consumer.instance = Some("host-1".to_owned());
    let consumer = config.consumer(&consumer);
    for key in consumer.config_map().keys().chain(config.producer().config_map().keys()) {
        assert!(may_change.contains(key) || REFUSED.iter().any(|(refused, _)| refused == key), "{key}");
    }
}

/// A member that hears of a wider topic amid a revocation never follows its group again: see `intake::widths`.
#[test]
fn a_classic_member_hears_of_its_topics_when_it_is_told_to() {
    let config = KafkaConfig::new("localhost:9092");
    let consumer = config.consumer(&ConsumerConfig::new("g", vec!["t".to_owned()]));
    assert_eq!(consumer.get("topic.metadata.refresh.interval.ms"), Some("-1"));
}

#[test]
fn both_group_protocols_are_accepted_by_the_client() {
    let config = KafkaConfig::new("localhost:9092");
    for group_protocol in [GroupProtocol::Classic, GroupProtocol::Consumer] {
        for seconds in [6, 45, 1_800] {
            let consumer = ConsumerConfig {
                group_protocol,
                session_timeout: Duration::from_secs(seconds),
                ..ConsumerConfig::new("g", vec!["t".to_owned()])
            };
            config.consumer(&consumer).create::<BaseConsumer>().unwrap();
        }
    }
}

#[test]
fn a_retry_topic_always_starts_at_its_beginning() {
    let mut config = ConsumerConfig::new("g", vec!["t".to_owned()]);
    config.retry_topics.push("t.h.retry".to_owned());
    config.start = Start::Latest;
    assert_eq!(config.start_of("t"), Start::Latest);
    assert_eq!(config.start_of("t.h.retry"), Start::Earliest);
    assert_eq!(config.all_topics().collect::<Vec<_>>(), ["t", "t.h.retry"]);
}

#[test]
fn an_unknown_property_is_named_without_its_value() {
    let told = with("sasl.pasword", "s3cret").check().unwrap_err().to_string();
    assert!(told.contains("sasl.pasword") && !told.contains("s3cret"), "{told}");
}

#[test]
fn security_properties_pass() {
    let mut config = with("security.protocol", "sasl_ssl");
    config.properties.insert("sasl.mechanism".to_owned(), "SCRAM-SHA-512".to_owned());
    config.properties.insert("sasl.username".to_owned(), "app".to_owned());
    config.properties.insert("sasl.password".to_owned(), "s3cret".to_owned());
    config.check().unwrap();
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn an_operators_property_wins_over_a_default() {
    assert_eq!(with("linger.ms", "7").producer().get("linger.ms"), Some("7"));
}
