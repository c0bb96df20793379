//! A guest that makes its database work for a while: the value is how many rows to count. The wait is
//! the host's time, not the guest's. The value `forever` makes one short call after another without end, and
//! `for MS` does so for that many milliseconds and then writes the event's partition and offset
//! down, in a table `done`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use std::time::{Duration, Instant};

use keylane::handler::sql::{Database, Error, Value};

struct SlowHostCall;

const COUNT: &str = "WITH RECURSIVE counted(n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) SELECT max(n) FROM counted";

const INSERT: &str = "INSERT INTO done (partition, record_offset) VALUES ($1, $2)";

/// Few enough for tenths of a second.
const ROWS_OF_A_LONGER_CALL: i64 = 300_000;

/// Few enough for milliseconds.
const ROWS_OF_A_SHORT_CALL: i64 = 10_000;

impl Guest for SlowHostCall {
    fn handle(event: Event) -> Result<(), Failure> {
        let value = event.value.unwrap_or_default();
        let database = Database::open("main").map_err(refused)?;
        let count = |rows| database.query(COUNT, &[Value::Integer(rows)]).map_err(refused);
        if let Some(milliseconds) = milliseconds(&value) {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(milliseconds) {
                count(ROWS_OF_A_LONGER_CALL)?;
            }
            return note(&database, event.partition, event.offset).map_err(refused);
        }
        if value == b"forever" {
            loop {
                count(ROWS_OF_A_SHORT_CALL)?;
            }
        }
        count(String::from_utf8_lossy(&value).parse().unwrap_or(1))?;
        Ok(())
    }
}

/// Of `for MS`.
fn milliseconds(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.strip_prefix("for ")?.parse().ok()
}

fn note(database: &Database, partition: i32, offset: i64) -> Result<(), Error> {
    database.execute(INSERT, &[Value::Integer(partition.into()), Value::Integer(offset)])?;
    Ok(())
}

fn refused(error: Error) -> Failure {
    Failure::Reject(format!("{error:?}"))
}

export!(SlowHostCall);
