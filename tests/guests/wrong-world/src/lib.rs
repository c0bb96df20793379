//! A component, but no handler: it exports nothing that the host knows.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({
    inline: "
        package guests:wrong-world;
        world tool { export greet: func() -> string; }
    ",
});

struct Tool;

impl Guest for Tool {
    fn greet() -> String {
        "hello".to_owned()
    }
}

export!(Tool);
