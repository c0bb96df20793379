//! A guest that does nothing: what a call itself costs, and how long instances live.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Noop;

impl Guest for Noop {
    fn handle(_event: Event) -> Result<(), Failure> {
        Ok(())
    }
}

export!(Noop);
