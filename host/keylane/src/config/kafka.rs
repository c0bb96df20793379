//! `[kafka]`: the brokers, and properties that go to librdkafka as they are.

use keylane_deployment::Document;
use toml::Value;

use super::Kafka;
use super::check::Checked;
use super::raw::RawKafka;

/// Properties that keylane's promises rest on; it sets them itself.
const OWN: &[(&str, &str)] = &[
    ("auto.offset.reset", "`subscribe.start` in a manifest says where to begin"),
    ("bootstrap.servers", "write the brokers as `kafka.brokers`"),
    ("enable.auto.commit", "an offset is committed when its event has ended"),
    ("enable.auto.offset.store", "an offset is committed when its event has ended"),
    ("enable.idempotence", "without it a repeat could put records out of order"),
    ("enable.partition.eof", "keylane has no use for it"),
    ("group.id", "it is made from the fleet and the handler's name"),
    ("metadata.broker.list", "write the brokers as `kafka.brokers`"),
    ("partition.assignment.strategy", "a rebalance has to be cooperative"),
    ("partitioner", "with another one, a key would go to two partitions beside a Java producer"),
    ("transactional.id", "keylane has no use for it yet"),
];

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
    let mut properties = std::collections::BTreeMap::new();
    for (name, value) in raw.properties {
        if let Some((_, reason)) = OWN.iter().find(|(own, _)| own == name.get_ref()) {
            let problem = format!("`{}` is set by keylane", name.get_ref());
            return Err(document.refuse(name.span(), problem).with_hint(*reason));
        }
        let Some(text) = as_text(value.get_ref()) else {
            return Err(document.refuse(value.span(), "a property is a text, a number, true or false"));
        };
        properties.insert(name.into_inner(), text);
    }
    Ok(Kafka { brokers: brokers.join(","), properties })
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
