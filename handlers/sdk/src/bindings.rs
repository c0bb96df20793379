//! What is generated from `wit/`: the world's types, its imports and the macro that exports a handler.
#![allow(
    unsafe_code,
    missing_docs,
    clippy::all,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::allow_attributes_without_reason,
    reason = "generated code, which has to follow the canonical ABI and not our style"
)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "handler-with-http",
    generate_all,
    pub_export_macro: true,
    additional_derives: [PartialEq],
    // They hold a handle, which cannot be compared.
    additional_derives_ignore: ["cas-error", "stream-error"],
});
