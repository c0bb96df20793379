//! A guest that remembers: it panics on the second event that one instance gets.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use std::sync::atomic::{AtomicU32, Ordering};

struct PanicsOnSecond;

static EVENTS: AtomicU32 = AtomicU32::new(0);

impl Guest for PanicsOnSecond {
    fn handle(_event: Event) -> Result<(), Failure> {
        let before = EVENTS.fetch_add(1, Ordering::Relaxed);
        assert!(before == 0, "this instance remembers {before} earlier event");
        Ok(())
    }
}

export!(PanicsOnSecond);
