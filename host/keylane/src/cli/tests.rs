//! The command line: it is well formed, and every line that help, README and samples show is one.

use std::path::Path;

use clap::CommandFactory as _;

use super::*;

/// The papers with lines to type, and how many there are at least.
const PAPERS: [(&str, usize); 3] =
    [("README.md", 8), ("deploy/sample/keylane.toml", 2), ("deploy/sample/handler.toml", 1)];
/// The same for the help of all commands.
const HELP_LINES: usize = 16;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

/// The lines of a text that show something to type: `keylane` after two blanks at least, up to a comment.
fn shown(text: &str) -> Vec<&str> {
    let typed = text.lines().filter_map(|line| line.split_once("  keylane "));
    typed.map(|(_, line)| line.split("  ").next().unwrap().split(" #").next().unwrap().trim()).collect()
}

/// The arguments of a line; what stands in quotes is one.
fn arguments(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    let words = pieces.flat_map(|(at, piece)| match at % 2 {
        0 => piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![piece.to_owned()],
    });
    std::iter::once("keylane".to_owned()).chain(words).collect()
}

/// Says what is wrong with a line, if anything is.
fn problem(line: &str) -> Option<String> {
    let error = Cli::try_parse_from(arguments(line)).err()?;
    Some(format!("keylane {line}\n{error}"))
}

fn help_of(command: &clap::Command) -> String {
    let own = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command.get_subcommands().fold(own, |text, inner| text + "\n" + &help_of(inner))
}

#[test]
fn a_line_that_is_none_is_found() {
    assert!(problem("lanes skip --config keylane.toml board tasks 3").is_some());
    assert!(problem("dlq redrive board").is_some());
    assert_eq!(
        shown("    keylane status --config a.toml     # how\nsay `keylane x`"),
        ["status --config a.toml"]
    );
}

#[test]
fn every_line_that_is_shown_is_one() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let papers =
        PAPERS.map(|(path, least)| (path, std::fs::read_to_string(repository.join(path)).unwrap(), least));
    let help = [("--help", help_of(&Cli::command()), HELP_LINES)];
    for (path, text, least) in papers.into_iter().chain(help) {
        let lines = shown(&text);
        assert!(lines.len() >= least, "{path} shows {} lines only", lines.len());
        let problems: Vec<String> = lines.into_iter().filter_map(problem).collect();
        assert!(problems.is_empty(), "{path}: {}", problems.join("\n"));
    }
}
