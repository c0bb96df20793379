//! A guest that writes down which events it saw, in the order in which it saw them, so that a test can
//! judge order and loss by what a handler really met. Some events ask for a second attempt: their first
//! row is rolled back, and the key's later events must wait for the second.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use keylane::handler::sql::{Database, Error, Value};
use keylane::handler::types::RetryRequest;

struct Recorder;

/// One event in so many fails its first attempt: the one with this remainder.
const RETRIED: (i64, i64) = (97, 13);

const INSERT: &str =
    "INSERT INTO seen (topic, partition, record_offset, record_key, attempt) VALUES ($1, $2, $3, $4, $5)";

impl Guest for Recorder {
    fn handle(event: Event) -> Result<(), Failure> {
        let again = event.attempt == 1 && event.offset % RETRIED.0 == RETRIED.1;
        record(event).map_err(|error| retry(format!("{error:?}")))?;
        if again { Err(retry("every so often one attempt is not enough".to_owned())) } else { Ok(()) }
    }
}

fn record(event: Event) -> Result<(), Error> {
    let database = Database::open("main")?;
    let row = [
        Value::Text(event.topic),
        Value::Integer(event.partition.into()),
        Value::Integer(event.offset),
        event.key.map_or(Value::Null, Value::Bytes),
        Value::Integer(event.attempt.into()),
    ];
    database.execute(INSERT, &row)?;
    Ok(())
}

fn retry(reason: String) -> Failure {
    Failure::Retry(RetryRequest { reason, after_ms: None })
}

export!(Recorder);
