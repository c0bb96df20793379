//! Databases of a host file: what is read, what it means, and what contradicts itself or the manifest.

use std::fs;

use keylane_deployment::DeploymentError;
use tempfile::TempDir;

use super::super::HostConfig;
use super::*;

/// Handlers with a grant `ledger` each, with these lines in it.
fn read(grants: &[(&str, &str)], databases: &str) -> (TempDir, Result<HostConfig, DeploymentError>) {
    read_with("30s", grants, databases)
}

/// The same with another session.
fn read_with(
    session: &str,
    grants: &[(&str, &str)],
    databases: &str,
) -> (TempDir, Result<HostConfig, DeploymentError>) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (name, grant) in grants {
        let file = format!("{name}.toml");
        let manifest = format!(
            "name = \"{name}\"\ncomponent = \"{name}.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n\
             [grants.sql.ledger]\n{grant}\n"
        );
        fs::write(folder.path().join(&file), manifest).unwrap();
        files.push(file);
    }
    let text = format!(
        "fleet = \"f\"\nhandlers = {files:?}\n[kafka]\nbrokers = [\"b:1\"]\nsession-timeout = \"{session}\"\n{databases}"
    );
    let file = folder.path().join("keylane.toml");
    fs::write(&file, text).unwrap();
    let config = HostConfig::load(&file);
    (folder, config)
}

const WRITE: &str = "access = \"write\"";
const READ: &str = "access = \"read\"";

/// The one database of a handler `audit` whose grant has these lines.
fn one(grant: &str, lines: &str) -> Result<Database, (String, String)> {
    let (_folder, config) = read(&[("audit", grant)], &format!("[databases.audit.ledger]\n{lines}"));
    let told = |error: DeploymentError| (error.to_string(), error.hint().unwrap_or_default());
    Ok(config.map_err(told)?.handlers[0].databases["ledger"].clone())
}

#[test]
fn a_server_has_all_it_is_given() {
    let database = one(
        &format!("{WRITE}\nisolation = \"read-committed\""),
        "write = \"postgres://u@one/ledger\"\nread = \"postgresql://u@two:5433/ledger\"\n\
         write-connections = 16\nread-connections = 2\nidle-in-transaction = \"7s\"\npassword-env = \"P\"",
    )
    .unwrap();
    assert_eq!(database.write, Some(Address::Postgres("postgres://u@one/ledger".to_owned())));
    assert_eq!(database.read, Some(Address::Postgres("postgresql://u@two:5433/ledger".to_owned())));
    assert_eq!((database.write_connections, database.read_connections, database.runs_max()), (16, 2, 16));
    assert_eq!(database.idle_in_transaction, Duration::from_secs(7));
    assert_eq!(database.isolation, Isolation::ReadCommitted);
    assert!(database.password.is_some() && database.every_commit_to_disk);
}

#[test]
fn a_server_has_its_defaults() {
    let database = one(WRITE, "write = \"postgres://u@one/ledger\"").unwrap();
    assert_eq!((database.write_connections, database.read_connections), (8, 4));
    // Half of the session, which is shorter than usual.
    assert_eq!(database.idle_in_transaction, Duration::from_secs(15));
    assert_eq!(database.isolation, Isolation::Serializable);
}

#[test]
fn a_host_file_may_ask_for_more_isolation_than_the_manifest_and_not_for_less() {
    let grant = format!("{WRITE}\nisolation = \"read-committed\"");
    let lines = "write = \"postgres://u@one/ledger\"\nisolation = \"serializable\"";
    assert_eq!(one(&grant, lines).unwrap().isolation, Isolation::Serializable);
    let less = lines.replace("serializable", "read-committed");
    assert_eq!(one(&grant, &less).unwrap().isolation, Isolation::ReadCommitted);
    let (problem, hint) = one(WRITE, &less).unwrap_err();
    assert!(problem.contains("`databases.audit.ledger.isolation`: the manifest asks for"), "{problem}");
    assert!(hint.contains("into the manifest's grant"), "{hint}");
    // SQLite gives more than was asked for.
    assert_eq!(one(&grant, "write = \"sqlite://a.db\"").unwrap().isolation, Isolation::Serializable);
}

#[test]
fn a_reader_has_an_address_alone() {
    let database = one(READ, "read = \"sqlite://a.db\"\nread-connections = 9").unwrap();
    assert_eq!((database.write.is_none(), database.read_connections), (true, 9));
    assert_eq!(database.address(), database.read.as_ref());
    for line in [
        "write = \"sqlite://a.db\"",
        "isolation = \"serializable\"",
        "synchronous = \"full\"",
        "write-connections = 2",
        "idle-in-transaction = \"9s\"",
    ] {
        let key = line.split_once(' ').unwrap().0;
        let (problem, hint) = one(READ, &format!("read = \"sqlite://a.db\"\n{line}")).unwrap_err();
        assert!(
            problem.contains(&format!("`databases.audit.ledger.{key}`: the handler only reads")),
            "{problem}"
        );
        assert!(hint.contains(&format!("leave `{key}` out")), "{hint}");
    }
}

#[test]
fn what_cannot_be_is_refused_where_it_stands() {
    for (grant, lines, said) in [
        (WRITE, "read = \"sqlite://a.db\"", "`databases.audit.ledger`: the handler writes here"),
        (READ, "read-connections = 2", "`databases.audit.ledger`: the handler reads here"),
        (WRITE, "write = \"oracle://u:secret@x/y\"", "write`: this is not the address of a database"),
        (WRITE, "write = \"sqlite://a.db?mode=memory\"", "write`: this names no file"),
        (WRITE, "write = \"postgres://u:secret@x/y\"", "write`: a password does not belong in this file"),
        (WRITE, "write = \"postgres://u@x/y?a=b&password=secret\"", "write`: a password does not belong"),
        (WRITE, "write = \"postgres://x\"", "write`: the address names no host or no database"),
        (WRITE, "write = \"postgres:///y\"", "write`: the address names no host or no database"),
        (
            WRITE,
            "write = \"postgres://u@x/y\"\nread = \"sqlite://a.db\"",
            "read`: `write` and `read` are two kinds of database",
        ),
        (WRITE, "write = \"sqlite://a.db\"\nwrite-connections = 2", "write-connections`: SQLite has one"),
        (WRITE, "write = \"sqlite://a.db\"\nidle-in-transaction = \"9s\"", "SQLite has no server"),
        (WRITE, "write = \"sqlite://a.db\"\nisolation = \"read-committed\"", "SQLite has one writer"),
        (WRITE, "write = \"sqlite://a.db\"\npassword-env = \"P\"", "a SQLite file has no password"),
        (WRITE, "write = \"postgres://x/y\"\npassword-env = \"P\"", "write`: a password needs a user"),
        (WRITE, "write = \"postgres://u@x/y\"\nsynchronous = \"normal\"", "\"normal\" is for SQLite"),
    ] {
        let (problem, _) = one(grant, lines).unwrap_err();
        assert!(problem.contains(said), "{problem} for {lines}");
        assert!(!problem.contains("secret"), "{problem}");
    }
}

#[test]
fn times_that_do_not_fit_are_refused() {
    let server = "write = \"postgres://u@x/y\"";
    for (limits, lines, place) in [
        ("", "idle-in-transaction = \"30s\"", "`databases.audit.ledger.idle-in-transaction`: "),
        ("", "idle-in-transaction = \"1s\"", "`databases.audit.ledger.idle-in-transaction`: "),
        ("[limits]\ntime = \"15s\"", "", "`kafka.session-timeout`: "),
        ("[limits]\nslice = \"8s\"\ntime = \"7s\"", "", "`kafka.session-timeout`: "),
        // Where an event begins at the end of the slice in an instance that is made for it.
        ("[limits]\nslice = \"5s\"\ntime = \"5s\"", "", "`kafka.session-timeout`: "),
    ] {
        let (problem, hint) = one(&format!("{WRITE}\n{limits}"), &format!("{server}\n{lines}")).unwrap_err();
        assert!(problem.contains(place) && problem.contains("must be shorter"), "{problem}");
        assert!(hint.starts_with("change `idle-in-transaction` of its database"), "{hint}");
    }
    // A file has no server that would end a session.
    one(&format!("{WRITE}\n[limits]\ntime = \"15s\""), "write = \"sqlite://a.db\"").unwrap();
}

/// The client takes no less than a second for a transaction, which is no shorter than such a session.
#[test]
fn a_transaction_of_kafkas_fits_into_the_session_whatever_the_database_is() {
    let databases = "[databases.audit.ledger]\nwrite = \"sqlite://a.db\"";
    let short = format!("{WRITE}\n[limits]\ntime = \"500ms\"");
    let error = read_with("1s", &[("audit", &short)], databases).1.unwrap_err();
    let problem = error.to_string();
    let said = "`kafka.session-timeout`: handler \"audit\": Kafka's transaction.timeout.ms (1s)";
    assert!(problem.contains(said), "{problem}");
    assert_eq!(error.hint().as_deref(), Some("raise `kafka.session-timeout`"));
    read_with("1100ms", &[("audit", &short)], databases).1.unwrap();
}

#[test]
fn two_handlers_may_share_a_database_if_one_of_them_only_reads() {
    let lines = |second: &str| {
        format!(
            "[databases.one.ledger]\nwrite = \"sqlite://same.db\"\n\
             [databases.two.ledger]\n{second} = \"sqlite://same.db\"\n"
        )
    };
    let (_folder, shared) = read(&[("one", WRITE), ("two", READ)], &lines("read"));
    shared.unwrap();
    let (_folder, refused) = read(&[("one", WRITE), ("two", WRITE)], &lines("write"));
    let refused = refused.unwrap_err().to_string();
    let said = "line 9, `databases.two.ledger.write`: handler \"one\" has this database already";
    assert!(refused.ends_with(said), "{refused}");
}
