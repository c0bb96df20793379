//! A guest that traps on an event whose value is `trap`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Trap;

impl Guest for Trap {
    fn handle(event: Event) -> Result<(), Failure> {
        if event.value.as_deref() == Some(b"trap") {
            std::process::abort();
        }
        Ok(())
    }
}

export!(Trap);
