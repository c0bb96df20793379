//! A component whose `handle` takes text where a handler takes an event.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({
    inline: "
        package guests:wrong-type;
        world almost { export handle: func(event: string) -> result<_, string>; }
    ",
});

struct Almost;

impl Guest for Almost {
    fn handle(_event: String) -> Result<(), String> {
        Ok(())
    }
}

export!(Almost);
