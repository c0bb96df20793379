//! A guest that makes its database work for a while: the value is how many rows to count. The wait is
//! the host's time, not the guest's. The value `forever` makes one short call after another without end.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use keylane::handler::sql::{Database, Value};

struct SlowHostCall;

const COUNT: &str = "WITH RECURSIVE counted(n) AS \
     (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < $1) SELECT max(n) FROM counted";

/// Few enough for milliseconds.
const ROWS_OF_A_SHORT_CALL: i64 = 10_000;

impl Guest for SlowHostCall {
    fn handle(event: Event) -> Result<(), Failure> {
        let value = event.value.unwrap_or_default();
        let database = Database::open("main").map_err(refused)?;
        let count = |rows| database.query(COUNT, &[Value::Integer(rows)]).map_err(refused);
        if value == b"forever" {
            loop {
                count(ROWS_OF_A_SHORT_CALL)?;
            }
        }
        count(String::from_utf8_lossy(&value).parse().unwrap_or(1))?;
        Ok(())
    }
}

fn refused(error: keylane::handler::sql::Error) -> Failure {
    Failure::Reject(format!("{error:?}"))
}

export!(SlowHostCall);
