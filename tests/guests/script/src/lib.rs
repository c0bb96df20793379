//! A guest that does what its event's value says, line by line, so that a test can have a run fail at any place:
//!
//! - `do SQL`, `try SQL`: executes it on the database `main`; an error ends the event as a retry, or is swallowed.
//! - `add SQL`: has it sent with others, on the database `main`.
//! - `ask SQL`: queries it there and sends the first value of the first row to the topic `echoes`.
//! - `look SQL`, `peek SQL`: queries it on the database `reports`; an error as with `do` or `try`.
//! - `send TEXT`: gives out a record.
//! - `retry TEXT`, `reject TEXT`, `trap`, `hoard`, `sleep MS`, `spin`: ends that way, or takes its time.
//! - `if served`, `if first attempt`: the rest only where this instance has served before, or this is the
//!   first attempt.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keylane::handler::types::RetryRequest;
use keylane::handler::{producer, sql};

struct Script;

/// Events that this instance was given before.
static SERVED: AtomicU32 = AtomicU32::new(0);

const CHUNK_BYTES: usize = 1024 * 1024;

impl Guest for Script {
    fn handle(event: Event) -> Result<(), Failure> {
        let served = SERVED.fetch_add(1, Ordering::Relaxed);
        let script = String::from_utf8(event.value.unwrap_or_default()).unwrap_or_default();
        for line in script.lines() {
            match line.trim() {
                "if served" if served == 0 => return Ok(()),
                "if first attempt" if event.attempt > 1 => return Ok(()),
                "if served" | "if first attempt" => {}
                line => obey(line)?,
            }
        }
        Ok(())
    }
}

fn obey(line: &str) -> Result<(), Failure> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "do" => execute(rest).map_err(told),
        "add" => add(rest).map_err(told),
        "try" => {
            let _ = execute(rest);
            Ok(())
        }
        "ask" => ask(rest),
        "look" => query("reports", rest).map(drop).map_err(told),
        "peek" => {
            let _ = query("reports", rest);
            Ok(())
        }
        "send" => send(rest),
        "retry" => Err(retry(rest.to_owned())),
        "reject" => Err(Failure::Reject(rest.to_owned())),
        "trap" => std::process::abort(),
        "hoard" => hoard(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(rest.parse().unwrap_or(0)));
            Ok(())
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        "" => Ok(()),
        unknown => Err(Failure::Reject(format!("no verb {unknown:?}"))),
    }
}

fn execute(statement: &str) -> Result<(), sql::Error> {
    sql::Database::open("main")?.execute(statement, &[]).map(drop)
}

fn add(statement: &str) -> Result<(), sql::Error> {
    sql::Database::open("main")?.append(statement, &[])
}

fn query(database: &str, statement: &str) -> Result<Vec<Vec<sql::Value>>, sql::Error> {
    Ok(sql::Database::open(database)?.query(statement, &[])?.rows)
}

fn ask(statement: &str) -> Result<(), Failure> {
    let rows = query("main", statement).map_err(told)?;
    let value = rows.first().and_then(|row| row.first());
    send(&format!("{value:?}"))
}

fn send(text: &str) -> Result<(), Failure> {
    let value = Some(text.as_bytes().to_vec());
    let message = producer::Message { topic: "echoes".to_owned(), key: None, value, headers: Vec::new() };
    producer::send(&message).map_err(|error| retry(format!("{error:?}")))
}

fn hoard() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; CHUNK_BYTES]));
    }
}

fn told(error: sql::Error) -> Failure {
    retry(format!("{error:?}"))
}

fn retry(reason: String) -> Failure {
    Failure::Retry(RetryRequest { reason, after_ms: None })
}

export!(Script);
