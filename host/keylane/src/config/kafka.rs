//! `[kafka]`: the brokers, what kind of member the host is in its handlers' groups, and properties that go to
//! librdkafka as they are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use keylane_deployment::{Bounds, Document, Time, name_problem};
use keylane_kafka::{KafkaConfig, KafkaError};
use toml::{Spanned, Value};

use super::check::Checked;
use super::raw::{RawGroupProtocol, RawKafka};

/// How long a group waits for a sign of life; Kafka's own default and greatest value.
const SESSION_TIMEOUT: Bounds<Time> =
    Bounds { least: Time { ms: 1_000 }, default: Time { ms: 45_000 }, most: Time { ms: 1_800_000 } };

/// How to reach Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kafka {
    /// `host:port`, separated by commas.
    pub(crate) brokers: String,
    /// Properties of librdkafka, as written. None of them is one that keylane sets itself.
    pub(crate) properties: BTreeMap<String, String>,
    /// What kind of member the host is.
    pub(crate) membership: Membership,
}

/// What kind of member the host is in its handlers' groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    /// How a group shares out its partitions; classic by default.
    pub(crate) protocol: GroupProtocol,
    /// The name by which a member that comes back within its session finds its partitions again (static
    /// membership, KIP-345); none by default. No two hosts of a fleet may have the same.
    pub(crate) instance: Option<String>,
    /// How long a group waits for a sign of life; 45 s by default.
    pub(crate) session_timeout: Duration,
}

/// How a group shares out its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupProtocol {
    /// A member does it for all, cooperatively.
    Classic,
    /// The broker does it (KIP-848); Kafka 4.0 or later.
    Consumer,
}

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
    let membership = Membership {
        protocol: match raw.group_protocol {
            Some(RawGroupProtocol::Consumer) => GroupProtocol::Consumer,
            Some(RawGroupProtocol::Classic) | None => GroupProtocol::Classic,
        },
        instance: instance(document, raw.instance)?,
        session_timeout: SESSION_TIMEOUT.check(document, raw.session_timeout)?.duration(),
    };
    let (properties, spans) = properties(document, raw.properties)?;
    let kafka = Kafka { brokers: brokers.join(","), properties, membership };
    accepted(document, &kafka, &spans)?;
    Ok(kafka)
}

fn instance(document: &Document, given: Option<Spanned<String>>) -> Checked<Option<String>> {
    let Some(given) = given else { return Ok(None) };
    match name_problem(given.get_ref()) {
        Some(problem) => Err(document.refuse(given.span(), problem)),
        None => Ok(Some(given.into_inner())),
    }
}

/// The names of properties, and where each stands in the file.
type Spans = BTreeMap<String, Range<usize>>;

/// The properties as texts, and where each stands.
fn properties(
    document: &Document,
    raw: BTreeMap<Spanned<String>, Spanned<Value>>,
) -> Checked<(BTreeMap<String, String>, Spans)> {
    let mut properties = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for (name, value) in raw {
        if let Some(reason) = keylane_kafka::refused_property(name.get_ref()) {
            let problem = format!("`{}` is set by keylane", name.get_ref());
            return Err(document.refuse(name.span(), problem).with_hint(reason));
        }
        let Some(text) = as_text(value.get_ref()) else {
            return Err(document.refuse(value.span(), "a property is a text, a number, true or false"));
        };
        if name.get_ref().contains('\0') || text.contains('\0') {
            return Err(document.refuse(name.span(), "neither a property nor its value may hold a NUL"));
        }
        spans.insert(name.get_ref().clone(), name.span());
        properties.insert(name.into_inner(), text);
    }
    Ok((properties, spans))
}

/// Asks the client itself whether it knows the properties and takes their values. Connects to nobody.
fn accepted(document: &Document, kafka: &Kafka, spans: &Spans) -> Checked<()> {
    let properties = kafka.properties.clone();
    let told = KafkaConfig { properties, ..KafkaConfig::new(kafka.brokers.clone()) }.check();
    let Err(error) = told else { return Ok(()) };
    let span = match &error {
        KafkaError::Property { key, .. } => spans.get(key).cloned(),
        _ => None,
    };
    Err(match span {
        Some(span) => document.refuse(span, error.to_string()),
        None => document.refuse_file(error.to_string()),
    })
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn is_broker(text: &str) -> bool {
    let illegal = |c: char| matches!(c, ',' | '/') || c.is_whitespace() || c.is_control();
    let legal = |host: &str| !host.is_empty() && !host.contains(illegal);
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
