//! A guest that sleeps for an hour over an event whose value is `sleep`. It uses no processor time, so
//! only a deadline around the whole call can end it.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Sleep;

impl Guest for Sleep {
    fn handle(event: Event) -> Result<(), Failure> {
        if event.value.as_deref() == Some(b"sleep") {
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
        Ok(())
    }
}

export!(Sleep);
