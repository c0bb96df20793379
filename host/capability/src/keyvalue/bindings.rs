//! Rust types and traits made from `wit/deps/keyvalue`. Apart from the others, since an error of theirs holds
//! a handle, which cannot be compared.

#![allow(missing_docs, reason = "generated from wit/, which documents every item")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "wasi:keyvalue/imports",
    imports: { default: async | trappable },
    with: {
        "wasi:keyvalue/store.bucket": crate::keyvalue::BucketHandle,
        "wasi:keyvalue/atomics.cas": crate::keyvalue::SwapHandle,
    },
});

pub use wasi::keyvalue::{atomics, batch, store};
