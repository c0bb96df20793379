//! A guest that calls itself without end on an event whose value is `recurse`.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Recurse;

/// The work after the call keeps the compiler from turning the recursion into a loop.
fn descend(depth: u64, end: u64) -> u64 {
    let mut frame = [depth; 16];
    if depth != end {
        std::hint::black_box(&mut frame);
        let below = descend(depth.wrapping_add(1), end);
        std::hint::black_box(&mut frame);
        return below.wrapping_add(frame.iter().copied().fold(0, u64::wrapping_add));
    }
    depth
}

impl Guest for Recurse {
    fn handle(event: Event) -> Result<(), Failure> {
        if event.value.as_deref() == Some(b"recurse") {
            std::hint::black_box(descend(std::hint::black_box(1), std::hint::black_box(0)));
        }
        Ok(())
    }
}

export!(Recurse);
