//! The topic's records, from a seed: keys with Zipf's weights, values of 200 bytes.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use keylane_e2e::story::{Numbers, Zipf};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;

use crate::Plan;

/// The topic.
pub(crate) const TOPIC: &str = "bench";
/// The length of a value, in bytes.
const VALUE_BYTES: usize = 200;
/// What fills a value up to its length.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How long the broker may take for the last records.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);

/// Writes the records of a plan.
///
/// # Errors
/// When not all of them are acknowledged.
pub(crate) fn write(plan: &Plan, bootstrap: &str) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .set("batch.size", "65536")
        .create()?;
    let (mut numbers, zipf) = (Numbers(plan.seed), Zipf::new(plan.keys as usize));
    for number in 0..plan.records {
        let key = format!("k{:08}", zipf.draw(&mut numbers));
        let value = value(number, &key, &mut numbers);
        send(&producer, &key, &value)?;
    }
    producer.flush(FLUSH_LIMIT)?;
    ensure!(producer.in_flight_count() == 0, "not everything was written");
    Ok(())
}

/// Waits where the client's queue is full.
fn send(producer: &BaseProducer, key: &str, value: &str) -> Result<()> {
    loop {
        match producer.send(BaseRecord::to(TOPIC).key(key).payload(value)) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// A JSON object of exactly so many bytes.
fn value(number: u64, key: &str, numbers: &mut Numbers) -> String {
    let mut value = String::with_capacity(VALUE_BYTES);
    // Writing to a string cannot fail.
    let _ = write!(value, r#"{{"n":{number},"k":"{key}","amount":{},"pad":""#, numbers.below(1_000_000));
    let (mut bits, mut left) = (0, 0);
    while value.len() < VALUE_BYTES - 2 {
        if left == 0 {
            (bits, left) = (numbers.draw(), 12);
        }
        value.push(char::from(LETTERS.get((bits & 31) as usize).copied().unwrap_or(b'a')));
        (bits, left) = (bits >> 5, left - 1);
    }
    value.push_str("\"}");
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_length_and_are_json() {
        let mut numbers = Numbers(1);
        for number in [0, 999_999_999] {
            let value = value(number, "k00000001", &mut numbers);
            assert_eq!(value.len(), VALUE_BYTES);
            serde_json::from_str::<serde_json::Value>(&value).unwrap();
        }
    }
}
