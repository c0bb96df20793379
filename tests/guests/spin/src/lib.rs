//! A guest that never comes back from an event whose value is `spin`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Spin;

impl Guest for Spin {
    fn handle(event: Event) -> Result<(), Failure> {
        let mut turns = 0_u64;
        while event.value.as_deref() == Some(b"spin") {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
        Ok(())
    }
}

export!(Spin);
