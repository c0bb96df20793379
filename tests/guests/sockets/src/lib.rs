//! A guest that wants the network, which no manifest can grant: it must be refused at start.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

struct Sockets;

impl Guest for Sockets {
    fn handle(_event: Event) -> Result<(), Failure> {
        match std::net::TcpStream::connect(("127.0.0.1", 9092)) {
            Ok(_stream) => Ok(()),
            Err(error) => Err(Failure::Reject(error.to_string())),
        }
    }
}

export!(Sockets);
