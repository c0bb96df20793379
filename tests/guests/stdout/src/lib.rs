//! A guest that talks: the value is how many lines it writes to standard output and standard error.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this guest is for")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Stdout;

impl Guest for Stdout {
    fn handle(event: Event) -> Result<(), Failure> {
        let value = event.value.unwrap_or_default();
        let lines: u32 = String::from_utf8_lossy(&value).parse().unwrap_or(1);
        for line in 0..lines {
            println!("line {line} of standard output");
            eprintln!("line {line} of standard error");
        }
        Ok(())
    }
}

export!(Stdout);
