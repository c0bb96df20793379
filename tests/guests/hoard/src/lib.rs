//! A guest that takes all the memory it can get on an event whose value is `hoard`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Hoard;

const CHUNK_BYTES: usize = 1024 * 1024;

impl Guest for Hoard {
    fn handle(event: Event) -> Result<(), Failure> {
        let mut hoard = Vec::new();
        while event.value.as_deref() == Some(b"hoard") {
            hoard.push(std::hint::black_box(vec![1_u8; CHUNK_BYTES]));
        }
        Ok(())
    }
}

export!(Hoard);
