//! A guest that produces what it gets: key, value and headers go to the topic `echoes`. The value
//! `twice` is sent two times, and `then trap` traps when the record is already handed to the host.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use keylane::handler::producer::{self, Message};

struct Echo;

impl Guest for Echo {
    fn handle(event: Event) -> Result<(), Failure> {
        let times = if event.value.as_deref() == Some(b"twice") { 2 } else { 1 };
        let dies = event.value.as_deref() == Some(b"then trap");
        let message = Message {
            topic: "echoes".to_owned(),
            key: event.key,
            value: event.value,
            headers: event.headers,
        };
        for _ in 0..times {
            producer::send(&message).map_err(|error| Failure::Reject(format!("{error:?}")))?;
        }
        if dies {
            std::process::abort();
        }
        Ok(())
    }
}

export!(Echo);
