//! What grows is split in time: files, functions, the binary's story and the face of a library.

use crate::repository::{File, assert_clean, rust_files};
use crate::source::code_only;

/// Lines of a file.
const FILE_LINES_MAX: usize = 400;
/// Lines of a function, from its name to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Lines of `main.rs`.
const MAIN_LINES_MAX: usize = 120;

/// A function and how long it is.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

/// What has grown too long in a file.
fn findings(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    let limit = if file.name() == "main.rs" { MAIN_LINES_MAX } else { FILE_LINES_MAX };
    let lines = file.text.lines().count();
    if lines > limit {
        findings.push(format!("{}: {lines} lines, at most {limit}", file.path));
    }
    let code = code_only(&file.text);
    for function in functions(&code) {
        if function.lines > FUNCTION_LINES_MAX {
            let Function { name, line, lines } = function;
            findings.push(format!(
                "{}:{line}: `{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}",
                file.path
            ));
        }
    }
    let library = file.path.starts_with("host/") || file.path.starts_with("handlers/sdk/");
    if library && file.path.ends_with("src/lib.rs") {
        findings.extend(face(&code).into_iter().map(|item| {
            format!(
                "{}: a library's face is documentation, `mod` and `use`; move {item:?} to a file",
                file.path
            )
        }));
    }
    findings
}

/// All functions with a body, in code that is free of comments and texts.
fn functions(code: &str) -> Vec<Function> {
    code.match_indices("fn ").filter_map(|(at, _)| function(code, at)).collect()
}

/// The function that begins at this byte, if it is one and has a body.
fn function(code: &str, at: usize) -> Option<Function> {
    let (before, from) = code.split_at_checked(at)?;
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let name: String = from
        .chars()
        .skip("fn ".len())
        .skip_while(|c| *c == ' ')
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    if name.is_empty() {
        return None;
    }
    let end = body_end(from)?;
    Some(Function {
        name,
        line: before.matches('\n').count() + 1,
        lines: from.get(..end)?.matches('\n').count() + 1,
    })
}

/// The byte of the brace that closes the first block; none if a semicolon ends the declaration before.
fn body_end(from: &str) -> Option<usize> {
    let mut braces = 0_usize;
    let mut brackets = 0_usize;
    for (at, c) in from.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces == 1 => return Some(at),
            '}' => braces = braces.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The items at the top of a library that are neither `mod` nor `use`.
fn face(code: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut item = String::new();
    let mut depth = 0_usize;
    for c in code.chars() {
        item.push(c);
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let attribute = item.trim_start().starts_with('#');
        if depth == 0 && (c == ';' || (c == ']' && attribute) || (c == '}' && !is_use(&item))) {
            items.push(std::mem::take(&mut item).trim().to_owned());
        }
    }
    let first_line = |item: &String| item.lines().next().unwrap_or_default().to_owned();
    items.iter().filter(|item| !belongs_to_the_face(item)).map(first_line).collect()
}

fn belongs_to_the_face(item: &str) -> bool {
    item.starts_with('#')
        || is_use(item)
        || (item.ends_with(';') && without_visibility(item).starts_with("mod "))
}

fn is_use(item: &str) -> bool {
    without_visibility(item).starts_with("use ")
}

fn without_visibility(item: &str) -> &str {
    let item = item.trim_start();
    item.strip_prefix("pub(crate) ").or_else(|| item.strip_prefix("pub ")).unwrap_or(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(lines: usize) -> String {
        format!(
            "//! x\npub fn long(a: [u8; 2]) -> u8 {{\n{}}}\n",
            "    let text = \"}\"; // }\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_long_file_is_found() {
        let check = |path: &str, lines: usize| findings(&File::fixture(path, &"\n".repeat(lines))).len();
        assert_eq!((check("host/a/src/x.rs", 400), check("host/a/src/x.rs", 401)), (0, 1));
        assert_eq!((check("host/a/src/main.rs", 120), check("host/a/src/main.rs", 121)), (0, 1));
    }

    #[test]
    fn a_long_function_is_found() {
        let check = |lines: usize| findings(&File::fixture("host/a/src/x.rs", &source(lines)));
        assert_eq!(check(70), Vec::<String>::new());
        assert_eq!(check(71), ["host/a/src/x.rs:2: `long` has 71 lines, at most 70"]);
    }

    #[test]
    fn functions_are_told_from_what_looks_alike() {
        let code = "type F = fn (u8);\ntrait T { fn a(&self, x: [u8; 2]); fn b() {\n} }\nimpl Fn for X {}\nlet fn_ = 1;";
        let found = functions(code);
        assert_eq!(found, [Function { name: "b".to_owned(), line: 2, lines: 2 }]);
    }

    #[test]
    fn what_is_no_face_is_found() {
        let check = |text: &str| findings(&File::fixture("host/a/src/lib.rs", text)).len();
        let face = "//! x {\n#![allow(dead_code, reason = \"}\")]\n#[cfg(test)]\nmod a;\npub mod b;\npub use b::{c, d::{e}};\n";
        assert_eq!(check(face), 0);
        for item in [
            "pub fn a() {}",
            "mod a { use b; }",
            "const A: [u8; 1] = [1];",
            "pub struct A;",
            "macro_rules! a { () => {} }",
        ] {
            assert_eq!(check(&format!("{face}{item}\nmod z;")), 1, "{item}");
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    assert_clean(&rust_files().iter().flat_map(findings).collect::<Vec<_>>());
}
