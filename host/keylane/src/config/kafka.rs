//! `[kafka]`: the brokers, and properties that go to librdkafka as they are.

use std::collections::BTreeMap;
use std::ops::Range;

use keylane_deployment::Document;
use keylane_kafka::{KafkaConfig, KafkaError};
use toml::Value;

use super::Kafka;
use super::check::Checked;
use super::raw::RawKafka;

/// Checks `[kafka]`.
pub(super) fn kafka(document: &Document, raw: RawKafka) -> Checked<Kafka> {
    if raw.brokers.get_ref().is_empty() {
        return Err(document.refuse(raw.brokers.span(), "name at least one broker"));
    }
    let mut brokers = Vec::new();
    for broker in raw.brokers.into_inner() {
        if !is_broker(broker.get_ref()) {
            let problem = format!("{:?} is not a broker's host and port", broker.get_ref());
            return Err(document
                .refuse(broker.span(), problem)
                .with_hint("write it as in \"localhost:9092\""));
        }
        brokers.push(broker.into_inner());
    }
    let mut properties = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for (name, value) in raw.properties {
        if let Some(reason) = keylane_kafka::refused_property(name.get_ref()) {
            let problem = format!("`{}` is set by keylane", name.get_ref());
            return Err(document.refuse(name.span(), problem).with_hint(reason));
        }
        let Some(text) = as_text(value.get_ref()) else {
            return Err(document.refuse(value.span(), "a property is a text, a number, true or false"));
        };
        spans.insert(name.get_ref().clone(), name.span());
        properties.insert(name.into_inner(), text);
    }
    let kafka = Kafka { brokers: brokers.join(","), properties };
    accepted(document, &kafka, &spans)?;
    Ok(kafka)
}

/// Asks the client itself whether it knows the properties and takes their values. Connects to nobody.
fn accepted(document: &Document, kafka: &Kafka, spans: &BTreeMap<String, Range<usize>>) -> Checked<()> {
    let properties = kafka.properties.clone();
    let told = KafkaConfig { properties, ..KafkaConfig::new(kafka.brokers.clone()) }.check();
    let Err(error) = told else { return Ok(()) };
    let span = match &error {
        KafkaError::Property { key, .. } => spans.get(key).cloned(),
        _ => None,
    };
    Err(document.refuse(span.unwrap_or_default(), error.to_string()))
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn is_broker(text: &str) -> bool {
    let legal = |host: &str| !host.is_empty() && !host.contains([',', '/', ' ']);
    text.rsplit_once(':')
        .is_some_and(|(host, port)| legal(host) && port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
