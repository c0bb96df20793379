//! Rust types and traits made from `wit/`: the world that a component exports and the interfaces
//! that it may import. Host functions are async, since most of them wait; all of them may trap.

#![allow(missing_docs, reason = "generated from wit/, which documents every item")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "handler",
    imports: { default: async | trappable },
    exports: { default: async },
    with: {
        "keylane:handler/sql.database": crate::sql::DatabaseHandle,
        "wasi:keyvalue/atomics": crate::keyvalue::atomics,
        "wasi:keyvalue/batch": crate::keyvalue::batch,
        "wasi:keyvalue/store": crate::keyvalue::store,
    },
    additional_derives: [PartialEq],
});
