//! A guest that bears witness: it does with an event what the event's value says, and tells by a record on
//! another topic that it was done, by which host, and when. `tests/chaos` writes such values and judges
//! what the witnesses tell.
//!
//! A value is one line, `ID FATE NUMBER`, and any bytes after it:
//! - `done 0`: nothing happens.
//! - `slow MS`: it takes so many milliseconds.
//! - `retry N`, `trap N`, `spin N`: the first N attempts fail in this way; a later one is done.
//! - `reject 0`: no attempt can help.
//!
//! What it tells, with the event's key: `HOST PARTITION OFFSET ATTEMPT BEGAN-MS ENDED-MS`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keylane::handler::producer::{self, Message};
use keylane::handler::types::RetryRequest;

struct Witness;

/// Who tells. Each host gets a copy of the component in which the digits are its own.
static HOST: [u8; 24] = *b"witness-of-host:00000000";
/// Before the digits.
const DIGITS_FROM: usize = 16;

/// Where it tells.
const TOPIC: &str = "chaos-seen";

impl Guest for Witness {
    fn handle(event: Event) -> Result<(), Failure> {
        let began_ms = now_ms();
        let value = event.value.unwrap_or_default();
        let line = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ').skip(1);
        let fate = words.next().unwrap_or_default();
        let number: u64 = words.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let fails = u64::from(event.attempt) <= number;
        match fate {
            "done" => {}
            "slow" => std::thread::sleep(Duration::from_millis(number)),
            "retry" if fails => return Err(retry(format!("attempt {} of {number}", event.attempt))),
            "trap" if fails => std::process::abort(),
            "spin" if fails => spin(),
            "retry" | "trap" | "spin" => {}
            _ => return Err(Failure::Reject(format!("the fate is {fate:?}"))),
        }
        let host = std::hint::black_box(&HOST).iter().skip(DIGITS_FROM).map(|digit| char::from(*digit));
        let host: String = host.collect();
        let told =
            format!("{host} {} {} {} {began_ms} {}", event.partition, event.offset, event.attempt, now_ms());
        let message = Message {
            topic: TOPIC.to_owned(),
            key: event.key,
            value: Some(told.into_bytes()),
            headers: Vec::new(),
        };
        producer::send(&message).map_err(|error| retry(format!("{error:?}")))
    }
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn retry(reason: String) -> Failure {
    Failure::Retry(RetryRequest { reason, after_ms: None })
}

export!(Witness);
