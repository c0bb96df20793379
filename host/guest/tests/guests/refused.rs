//! Components that are refused at start: the message names the file and says what to do.

use std::path::{Path, PathBuf};

use crate::stage::{Stage, component};

/// Writes these bytes where a component should be, and answers the refusal without the folder's name.
async fn refusal_of(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("handler.wasm");
    std::fs::write(&file, bytes).unwrap();
    without_folder(Stage::of_file(file).refusal().await, folder.path())
}

fn without_folder(message: String, folder: &Path) -> String {
    message.replace(&format!("{}/", folder.display()), "")
}

async fn refusal_of_guest(stage: Stage, guest: &str) -> String {
    without_folder(stage.refusal().await, component(guest).parent().unwrap())
}

#[tokio::test]
async fn sockets() {
    let message = refusal_of_guest(Stage::of("sockets"), "sockets").await;
    assert!(
        message.starts_with("guest_sockets.wasm: the component of handler \"guest\" imports wasi:sockets/")
    );
    assert!(message.contains("which this host does not offer"), "{message}");
}

#[tokio::test]
async fn an_import_without_its_grant() {
    let message = refusal_of_guest(Stage::of("echo"), "echo").await;
    assert!(
        message.starts_with(
            "guest_echo.wasm: the component of handler \"guest\" imports keylane:handler/producer@0.1.0, \
             which its manifest does not grant; write [grants.producer]"
        ),
        "{message}"
    );
}

#[tokio::test]
async fn wrong_world() {
    let message = refusal_of_guest(Stage::of("wrong-world"), "wrong-world").await;
    assert_eq!(
        message,
        "guest_wrong_world.wasm: a component, but not a handler: it does not export the function `handle`; \
         it exports `greet`. A handler is built for the world `keylane:handler/handler`"
    );
}

#[tokio::test]
async fn wrong_type() {
    let message = refusal_of_guest(Stage::of("wrong-type"), "wrong-type").await;
    assert_eq!(
        message,
        "guest_wrong_type.wasm: a component, but not a handler: its function `handle` has another type: \
         expected `record` found `string`. A handler is built for the world `keylane:handler/handler`"
    );
}

#[tokio::test]
async fn no_such_file() {
    let message = Stage::of_file(PathBuf::from("/nowhere/handler.wasm")).refusal().await;
    assert_eq!(
        message,
        "/nowhere/handler.wasm: no such file. Build the component, or correct `component` in the manifest"
    );
}

#[tokio::test]
async fn a_core_module() {
    assert_eq!(
        refusal_of(b"\0asm\x01\0\0\0").await,
        "handler.wasm: not a WebAssembly component: it is a core module. Build it for wasm32-wasip2, \
         or wrap it with `wasm-tools component new`"
    );
}

#[tokio::test]
async fn something_else() {
    assert_eq!(
        refusal_of(b"#!/bin/sh\n").await,
        "handler.wasm: not a WebAssembly component: it is no WebAssembly at all; \
         a component is a binary file that starts with \\0asm"
    );
    assert_eq!(refusal_of(b"").await, "handler.wasm: not a WebAssembly component: it is empty");
}

#[tokio::test]
async fn a_damaged_component() {
    let bytes = std::fs::read(component("noop")).unwrap();
    let message = refusal_of(&bytes[..bytes.len() / 2]).await;
    assert!(message.starts_with("handler.wasm: not a WebAssembly component: it is damaged"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("handler.wasm");
    std::fs::File::create(&path).unwrap().set_len(keylane_guest::COMPONENT_BYTES_MAX + 1).unwrap();
    let message = without_folder(Stage::of_file(path).refusal().await, folder.path());
    assert!(message.starts_with("handler.wasm: larger than the limit of 134217728 bytes"), "{message}");
}

#[tokio::test]
async fn a_table_beyond_its_limit() {
    let mut stage = Stage::of("noop");
    stage.manifest.limits.table_elements = 1;
    let message = refusal_of_guest(stage, "noop").await;
    assert!(message.starts_with("guest_noop.wasm: cannot be started: asked for more than"), "{message}");
    assert!(message.contains("1 table elements"), "{message}");
}
