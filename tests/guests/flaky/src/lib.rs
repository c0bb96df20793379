//! A guest that fails on request: the value `retry N` asks for a retry until attempt N, `reject` rejects.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use keylane::handler::types::RetryRequest;

struct Flaky;

impl Guest for Flaky {
    fn handle(event: Event) -> Result<(), Failure> {
        let value = event.value.unwrap_or_default();
        let value = String::from_utf8_lossy(&value);
        if value == "reject" {
            return Err(Failure::Reject("no later attempt can help".to_owned()));
        }
        let until: u32 = value.strip_prefix("retry ").and_then(|number| number.parse().ok()).unwrap_or(1);
        if event.attempt < until {
            let reason = format!("attempt {} of {until}", event.attempt);
            return Err(Failure::Retry(RetryRequest { reason, after_ms: Some(7) }));
        }
        Ok(())
    }
}

export!(Flaky);
