//! What the README shows is true: its handler is a component that fits its manifest.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The one block of the README in this language.
fn block(language: &str) -> String {
    let readme = read("README.md");
    let opening = format!("```{language}\n");
    let mut blocks = readme.split(&opening).skip(1);
    let block = blocks.next().unwrap_or_else(|| panic!("no block in {language}"));
    assert!(blocks.next().is_none(), "two blocks in {language}: which one is meant?");
    block.split_once("```").unwrap().0.to_owned()
}

/// The code without what a formatter may change.
fn words(code: &str) -> String {
    let code: String = code.split_whitespace().collect();
    code.replace(",}", "}").replace(",)", ")")
}

/// The code of a file behind what opens it.
fn code(file: &str) -> &str {
    file.find("\nuse ").map_or(file, |at| &file[at..])
}

#[test]
fn the_handler_is_a_component_of_the_tests() {
    let source = read("tests/guests/readme/src/lib.rs");
    assert_eq!(
        words(code(&source)),
        words(&block("rust")),
        "tests/guests/readme/src/lib.rs and README.md differ"
    );
}

#[test]
fn the_manifest_fits_the_handler() {
    let folder = tempfile::tempdir().unwrap();
    let built = repository().join("target/wasm32-wasip2/component/guest_readme.wasm");
    fs::copy(&built, folder.path().join("board.wasm"))
        .unwrap_or_else(|error| panic!("{}: {error}; run `make guests` first", built.display()));
    fs::write(folder.path().join("handler.toml"), block("toml")).unwrap();
    fs::create_dir(folder.path().join("migrations")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keylane"))
        .args(["check", "handler.toml"])
        .current_dir(folder.path())
        .env_remove("KEYLANE_LOG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let expected =
        "handler.toml: ok, handler board reads task-lifecycle, exactly once, and is granted sql.board\n";
    assert_eq!((said.as_str(), output.status.code()), (expected, Some(0)));
}
