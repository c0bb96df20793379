//! The sample host file says what is true: what stands there is the default, and what is commented out is
//! right.

use std::path::{Path, PathBuf};

use super::*;

/// What the file must say, whatever it says else.
const NEEDED: [&str; 5] = ["fleet", "handlers", "brokers", "write", "folder"];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/sample/keylane.toml")
}

fn sample() -> String {
    std::fs::read_to_string(file()).unwrap()
}

fn read(text: &str) -> HostConfig {
    HostConfig::from_document(&Document::from_text(&file(), text))
        .unwrap_or_else(|error| panic!("{error}, in\n{text}"))
}

/// Everything that a file decides, but for where it stands.
fn decided(text: &str) -> String {
    format!("{:?}", read(text))
}

/// The key or the header of a table that is commented out in a line, if one is: what is TOML by itself.
fn commented_out(line: &str) -> Option<&str> {
    let key = line.strip_prefix("# ")?;
    key.parse::<toml::Table>().is_ok_and(|table| !table.is_empty()).then_some(key)
}

/// The sample with this change to each line; what becomes nothing is left out.
fn changed(change: impl Fn(usize, &str) -> Option<String>) -> String {
    let text = sample();
    text.lines().enumerate().filter_map(|(at, line)| change(at, line)).collect::<Vec<_>>().join("\n")
}

/// The sample with mail through a server, these lines of it left out, or put in another's place.
fn with_server(instead: impl Fn(&str) -> Option<String>) -> String {
    let mut server = false;
    let text = sample();
    let lines = text.lines().filter_map(|line| {
        server = line == "# [mail.smtp]" || (server && !line.is_empty());
        match commented_out(line).filter(|_| server) {
            Some(key) => instead(key),
            None => Some(line.to_owned()).filter(|line| !line.starts_with("folder = ")),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of the database on a server that is commented out, without the marks.
fn other_database() -> Vec<String> {
    let text = sample();
    let lines = text.lines().skip_while(|line| !line.starts_with("# [databases."));
    let lines = lines.take_while(|line| !line.is_empty());
    lines.map(|line| line.strip_prefix("# ").unwrap().to_owned()).collect()
}

/// The sample with this database in the place of the one that has its name.
fn with_database(lines: &[String]) -> String {
    let mut former = false;
    let text = sample();
    let others = text.lines().filter(|line| {
        former = *line == lines[0] || (former && !line.is_empty());
        !former
    });
    let all: Vec<&str> = others.chain(lines.iter().map(String::as_str)).collect();
    all.join("\n")
}

#[test]
fn the_database_on_a_server_is_right_with_its_defaults_and_either_secret() {
    let lines = other_database();
    let database = |lines: &[String]| {
        let config = read(&with_database(lines));
        config.handlers[2].databases["analytics"].clone()
    };
    let told = |database: &Database| Database { idle_at: None, password: None, ..database.clone() };
    let whole = database(&lines);
    assert!(matches!(&whole.write, Some(Address::Postgres(_))) && whole.password.is_some());
    let mut left_out = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(" = ") else { continue };
        if key == "write" {
            continue;
        }
        let mut less = lines.clone();
        less.remove(at);
        let less = told(&database(&less));
        let same = format!("{less:?}") == format!("{:?}", told(&whole));
        assert_eq!(same, key != "read", "without {line:?}");
        left_out += 1;
    }
    assert!(left_out >= 5, "only {left_out}");
    let from_env: Vec<String> =
        lines.iter().map(|line| alternative(line).unwrap_or_else(|| line.clone())).collect();
    assert!(from_env.contains(&"password-env = \"ANALYTICS_PASSWORD\"".to_owned()), "{from_env:?}");
    assert!(database(&from_env).password.is_some());
}

fn server(text: &str) -> Smtp {
    match read(text).mail {
        Some(Mail::Smtp(smtp)) => smtp,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_sample_runs_the_three_handlers() {
    let config = HostConfig::load(&file()).unwrap();
    let handlers: Vec<&str> = config.handlers.iter().map(|handler| handler.manifest.name.as_str()).collect();
    assert_eq!(handlers, ["accounting", "email", "analytics"]);
}

#[test]
fn what_stands_in_the_sample_is_the_default() {
    let whole = decided(&sample());
    let mut left_out = 0;
    for (at, line) in sample().lines().enumerate() {
        let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else { continue };
        if NEEDED.contains(&key) {
            continue;
        }
        let text = changed(|here, line| (here != at).then(|| line.to_owned()));
        assert_eq!(decided(&text), whole, "without {line:?}");
        left_out += 1;
    }
    assert!(left_out >= 8, "only {left_out}");
}

#[test]
fn each_key_that_is_commented_out_is_right() {
    let lines = sample();
    let beside_the_server = lines.lines().take_while(|line| *line != "# [mail.smtp]").count();
    let other_database = other_database();
    let mut tried = 0;
    for (at, line) in lines.lines().enumerate() {
        let Some(key) = commented_out(line) else { continue };
        if other_database.iter().any(|other| other == key) {
            continue;
        }
        if at >= beside_the_server && !key.starts_with("token-") {
            continue;
        }
        let text = changed(|here, line| Some(if here == at { key.to_owned() } else { line.to_owned() }));
        assert_ne!(decided(&text), decided(&sample()), "{line:?} changes nothing");
        tried += 1;
    }
    assert!(tried >= 6, "only {tried}");
    // All at once, but for the folder, which stands for the server.
    let everything = with_server(|key| Some(key.to_owned()));
    let passes = |key: &&str| !other_database.iter().any(|other| other == key);
    let everything: Vec<&str> =
        everything.lines().map(|line| commented_out(line).filter(passes).unwrap_or(line)).collect();
    let config = read(&everything.join("\n"));
    assert_eq!(config.kafka.membership.protocol, GroupProtocol::Consumer);
    assert_eq!((config.kafka.properties.len(), config.kafka.membership.instance.is_some()), (3, true));
}

#[test]
fn the_server_of_the_sample_is_right_with_each_of_its_secrets_and_defaults() {
    let whole = server(&with_server(|key| Some(key.to_owned())));
    assert_eq!((whole.port, whole.tls, whole.login.is_some()), (587, Tls::Starttls, true));
    for gone in ["port", "tls"] {
        let less = server(&with_server(|key| (!key.starts_with(gone)).then(|| key.to_owned())));
        assert_eq!((less.port, less.tls), (whole.port, whole.tls), "without {gone}");
    }
    for tls in ["implicit", "none"] {
        let other = with_server(|key| match key.split_once(" = ") {
            Some(("tls", _)) => Some(format!("tls = {tls:?}")),
            Some(("port", _)) => None,
            _ => Some(key.to_owned()),
        });
        assert_eq!(server(&other).port, if tls == "implicit" { 465 } else { 25 });
    }
    let from_env = with_server(|key| alternative(key).or_else(|| Some(key.to_owned())));
    assert!(from_env.contains("\npassword-env = \"SMTP_PASSWORD\"") && server(&from_env).login.is_some());
    let token = changed(|_, line| Some(alternative(line).unwrap_or_else(|| line.to_owned())));
    assert!(token.contains("\ntoken-env = \"KEYLANE_TOKEN\""), "{token}");
}

/// The key that a comment behind a secret's file offers instead: `# or KEY = "VALUE"`.
fn alternative(line: &str) -> Option<String> {
    let (_, offered) = line.split_once("-file = ")?.1.split_once("# or ")?;
    let end = offered.rfind('"').map(|_| offered.find(';').unwrap_or(offered.len()))?;
    Some(offered.get(..end)?.to_owned())
}
