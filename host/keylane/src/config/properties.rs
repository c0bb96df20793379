//! Host files drawn at random: no text brings the reader down, a refusal names the file and the place, and
//! what is accepted keeps the bounds.

use std::fs;
use std::time::Duration;

use keylane_deployment::{Access, Isolation, Place, name_problem};
use keylane_test_support::FullDocument;
use proptest::prelude::*;
use proptest::sample::select;
use tempfile::TempDir;

use super::*;

const MANIFEST: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\"]\n\
                        [grants.sql.ledger]\naccess = \"write\"\n[grants.sql.reports]\naccess = \"read\"\n[grants.mail]\nfrom = \"a@example.org\"\n";

/// Every key once, one a line.
const FULL: &str = r#"fleet = "exchange"
handlers = ["audit.toml"]
[kafka]
brokers = ["one:9092", "[::1]:9093"]
group-protocol = "consumer"
instance = "host-1"
session-timeout = "20s"
[kafka.properties]
"security.protocol" = "ssl"
"socket.timeout.ms" = 5000
"log.connection.close" = false
[databases.audit.ledger]
write = "postgres://audit@db-1:5433/ledger"
read = "postgres://audit@db-2/ledger?sslmode=require"
isolation = "serializable"
synchronous = "full"
write-connections = 16
read-connections = 3
idle-in-transaction = "15s"
password-file = "secret"
[databases.audit.reports]
read = "sqlite://data/reports.db"
[mail.smtp]
host = "smtp.example.org"
tls = "implicit"
port = 2525
user = "keylane"
password-file = "secret"
[admin]
listen = "0.0.0.0:80"
token-env = "KEYLANE_TOKEN"
[limits]
partition-records = 7
partition-bytes = "2MiB"
host-bytes = "3MiB"
drain = "5s"
revoke-drain = "7s"
"#;
const DOCUMENT: FullDocument = FullDocument(FULL);

/// Values of every kind, and the extreme ones of each.
const VALUES: &[&str] = &[
    "true",
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "1000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "1.5",
    "1e400",
    "nan",
    "\"\"",
    "\"text\"",
    "\"Text\"",
    "\"a\\u0000b\"",
    "\"\\n\"",
    "\"0ms\"",
    "\"1ms\"",
    "\"1s\"",
    "\"2s\"",
    "\"30m\"",
    "\"31m\"",
    "\"18446744073709551615h\"",
    "\"99999999999999999999ms\"",
    "\"0B\"",
    "\"1MiB\"",
    "\"8MiB\"",
    "\"1GiB\"",
    "\"1024GiB\"",
    "\"1025GiB\"",
    "\"17179869183GiB\"",
    "\"none\"",
    "\"starttls\"",
    "\"full\"",
    "\"classic\"",
    "\"sqlite://\"",
    "\"sqlite://:memory:\"",
    "\"sqlite:///\\u0000\"",
    "\"sqlite://other.db\"",
    "\"sqlite://data/reports.db?mode=memory\"",
    "\"postgres://x\"",
    "\"postgres:///x\"",
    "\"postgres://x/y\"",
    "\"postgresql://u:p@x/y\"",
    "\"postgres://u@x/y?password=p\"",
    "\"read-committed\"",
    "\"normal\"",
    "\"audit.toml\"",
    "\"/\"",
    "\"..\"",
    "\"127.0.0.1:0\"",
    "\"127.0.0.1:65536\"",
    "\"localhost:1\"",
    "\"[::1]:1\"",
    "[]",
    "[1]",
    "[\"\"]",
    "[\"a:1\"]",
    "[\"a:1\", \"a:1\"]",
    "[\"a:1,b:2\"]",
    "[\":1\"]",
    "[\"a:0\"]",
    "[\"audit.toml\", \"audit.toml\"]",
    "[\"..\"]",
    "[\"audit.toml\\u0000\"]",
    "{}",
    "{ a = 1 }",
    "[{ a = 1 }]",
    "1979-05-27T07:32:00Z",
];

/// A folder with what [`FULL`] names.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.toml"), MANIFEST).unwrap();
    folder
}

fn place(error: &DeploymentError) -> Option<&Place> {
    match error {
        DeploymentError::Syntax { place, .. }
        | DeploymentError::UnknownKey { place, .. }
        | DeploymentError::Refused { place, .. } => Some(place),
        DeploymentError::Unreadable { .. } | DeploymentError::Missing { .. } => None,
    }
}

/// Reads the text: either it keeps the bounds, or it is refused at a place that there is.
fn judge(folder: &TempDir, text: &str) -> Result<Option<DeploymentError>, TestCaseError> {
    let file = folder.path().join("keylane.toml");
    let error = match HostConfig::from_document(&Document::from_text(&file, text)) {
        Ok(config) => return bounded(&config).map(|()| None),
        Err(error) => error,
    };
    let Some(place) = place(&error) else {
        // A manifest that cannot be read is named instead.
        prop_assert!(error.to_string().contains(&*folder.path().to_string_lossy()), "{}", error);
        return Ok(Some(error));
    };
    prop_assert!(place.file.starts_with(folder.path()), "{}", error);
    let lines = text.split('\n').count();
    prop_assert!(place.line.is_none_or(|line| (1..=lines).contains(&line)), "{} of {} lines", error, lines);
    let whole_file = [" is missing", "no database for the grant", "no way to send mail"];
    let said = error.to_string();
    prop_assert!(place.line.is_some() || whole_file.iter().any(|words| said.contains(words)), "{}", said);
    let _advice = error.hint();
    Ok(Some(error))
}

/// What every host file keeps that is accepted.
fn bounded(config: &HostConfig) -> Result<(), TestCaseError> {
    prop_assert_eq!(name_problem(&config.fleet), None);
    let Membership { instance, session_timeout, .. } = &config.kafka.membership;
    let session = *session_timeout;
    prop_assert!((Duration::from_secs(1)..=Duration::from_secs(1_800)).contains(&session));
    prop_assert!(instance.as_ref().is_none_or(|name| name_problem(name).is_none()));
    prop_assert!(!config.kafka.brokers.is_empty() && !config.kafka.brokers.contains(char::is_control));
    let refused = |name: &String| keylane_kafka::refused_property(name).is_some();
    prop_assert!(!config.kafka.properties.keys().any(refused));
    let [handler] = config.handlers.as_slice() else { return Err(TestCaseError::fail("handlers")) };
    databases(handler, session)?;
    let run = handler.manifest.limits.slice + handler.manifest.limits.time;
    prop_assert!(config.mail.is_some() && run < session);
    let HostLimits { partition_records, partition_bytes, host_bytes, drain, revoke_drain } = config.limits;
    prop_assert!((1..=1_000_000).contains(&partition_records));
    prop_assert!((1 << 20..=1 << 30).contains(&partition_bytes));
    prop_assert!((partition_bytes..=1 << 40).contains(&host_bytes));
    prop_assert!(drain <= Duration::from_secs(240));
    prop_assert!(revoke_drain <= Duration::from_secs(60) && revoke_drain <= session / 2);
    Ok(())
}

/// What every database keeps that is accepted.
fn databases(handler: &Handler, session: Duration) -> Result<(), TestCaseError> {
    prop_assert!(handler.databases.keys().eq(["ledger", "reports"]));
    for database in handler.databases.values() {
        let writes = database.access == Access::Write;
        prop_assert!(database.write.is_some() == writes && (writes || database.read.is_some()));
        for address in [&database.write, &database.read].into_iter().flatten() {
            let Address::Postgres(url) = address else { continue };
            prop_assert!(
                !url.contains(":p@") && !url.contains("password") && !url.contains(char::is_control)
            );
        }
        if matches!(database.write, Some(Address::Sqlite(_))) {
            prop_assert_eq!((database.write_connections, database.isolation), (1, Isolation::Serializable));
        } else {
            prop_assert!(database.every_commit_to_disk);
        }
        if matches!(database.write, Some(Address::Postgres(_))) {
            let idle = database.idle_in_transaction;
            let limits = &handler.manifest.limits;
            prop_assert!(limits.slice + 2 * limits.time + limits.host_call < idle && idle < session);
        }
        prop_assert!((1..=1_000).contains(&database.write_connections));
        prop_assert!((1..=1_000).contains(&database.read_connections));
    }
    Ok(())
}

#[test]
fn the_whole_file_is_right() {
    assert!(judge(&folder(), FULL).unwrap().is_none());
}

#[test]
fn any_text_is_read_without_harm() {
    let folder = folder();
    proptest!(|(text: String, cut in 0..FULL.len(), garbage in "[\\[\\]{}=\"'.,#\na-z0-9-]{0,6}")| {
        judge(&folder, &text)?;
        judge(&folder, &FULL[..cut])?;
        judge(&folder, &format!("{}{garbage}{}", &FULL[..cut], &FULL[cut..]))?;
    });
}

#[test]
fn a_key_that_is_renamed_is_named() {
    let folder = folder();
    let own = |path: &str| !path.starts_with("kafka.properties.");
    let keys: Vec<_> = DOCUMENT.keys().into_iter().filter(|(_, path, _)| own(path)).collect();
    proptest!(|(key in select(keys), end in "[a-z`\"-]{1,4}")| {
        let (at, _, key) = key;
        let value = FULL.lines().nth(at).unwrap().split_once(" = ").unwrap().1;
        let renamed = format!("{key}{end}");
        let error = judge(&folder, &DOCUMENT.with_line(at, &format!("'{renamed}' = {value}")))?.unwrap();
        let DeploymentError::UnknownKey { place, key, .. } = &error else {
            return Err(TestCaseError::fail(error.to_string()));
        };
        prop_assert_eq!((key, place.line), (&renamed, Some(at + 1)));
    });
}

#[test]
fn a_property_of_any_name_and_value_is_taken_or_named() {
    let folder = folder();
    let at = FULL.lines().position(|line| line.starts_with("\"socket.timeout")).unwrap();
    let names =
        prop_oneof![any::<String>(), "[a-z]{2,8}(\\.[a-z]{2,8}){0,3}", Just("socket.timeout.ms".to_owned())];
    let values =
        prop_oneof![any::<String>().prop_map(toml::Value::from), any::<i64>().prop_map(toml::Value::from)];
    proptest!(|(name in names, value in values)| {
        let line = toml::to_string(&toml::Table::from_iter([(name.clone(), value)])).unwrap();
        let text = DOCUMENT.with_line(at, line.trim_end());
        prop_assume!(text.parse::<toml::Table>().is_ok());
        let Some(error) = judge(&folder, &text)? else { return Ok(()) };
        let place = place(&error).unwrap();
        prop_assert_eq!(place.line, Some(at + 1), "{}", error);
        let path = format!("kafka.properties.{name}");
        prop_assert_eq!(place.key.as_deref(), Some(path.as_str()), "{}", error);
    });
}

#[test]
fn what_stands_twice_is_refused() {
    let folder = folder();
    for (at, line) in FULL.lines().enumerate() {
        let error = judge(&folder, &DOCUMENT.with_line(at, &format!("{line}\n{line}"))).unwrap().unwrap();
        assert!(matches!(error, DeploymentError::Syntax { .. }), "{error}");
    }
}

#[test]
fn a_value_of_any_kind_is_bounded_or_refused_where_it_stands() {
    let folder = folder();
    for (at, path, key) in DOCUMENT.keys() {
        for value in VALUES {
            let text = DOCUMENT.with_line(at, &format!("{key} = {value}"));
            let Some(error) = judge(&folder, &text).unwrap() else { continue };
            let Some(place) = place(&error) else { continue };
            if matches!(error, DeploymentError::Syntax { .. }) || place.line.is_none() {
                continue;
            }
            let named = place.key.as_deref().unwrap_or_default();
            // What contradicts another key may be said there.
            let here = named == path || named.starts_with(&format!("{path}."));
            assert_eq!(here, place.line == Some(at + 1), "{error} for line {}, {path} = {value}", at + 1);
            let known = DOCUMENT
                .keys()
                .iter()
                .any(|(_, other, _)| other == named || other.starts_with(&format!("{named}.")));
            assert!(here || known, "{error} for {path} = {value}");
        }
    }
}
