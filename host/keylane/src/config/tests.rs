//! A host file that is right: what is written is what is meant. What is wrong is under `tests/golden`.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

const MANIFEST: &str = r#"
    name = "audit"
    component = "audit.wasm"
    [subscribe]
    topics = ["tasks"]
    [grants.sql.ledger]
    access = "write"
"#;

const SMALLEST: &str = r#"
    fleet = "exchange"
    handlers = ["audit/handler.toml"]
    [kafka]
    brokers = ["one:9092"]
    [databases.audit.ledger]
    write = "sqlite://data/audit.db"
"#;

/// Lays out a host file with one handler, and reads it.
fn read(text: &str) -> (TempDir, Result<HostConfig, DeploymentError>) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("audit")).unwrap();
    fs::write(folder.path().join("audit/handler.toml"), MANIFEST).unwrap();
    let file = folder.path().join("keylane.toml");
    fs::write(&file, text).unwrap();
    let config = HostConfig::load(&file);
    (folder, config)
}

#[test]
fn what_is_left_out_has_its_default() {
    let (folder, config) = read(SMALLEST);
    let config = config.unwrap();
    assert_eq!(config.fleet, "exchange");
    let membership = Membership {
        protocol: GroupProtocol::Classic,
        instance: None,
        session_timeout: Duration::from_secs(45),
    };
    let kafka = Kafka { brokers: "one:9092".to_owned(), properties: BTreeMap::new(), membership };
    assert_eq!(config.kafka, kafka);
    assert_eq!(config.admin.listen, SocketAddr::from(([127, 0, 0, 1], 9464)));
    assert_eq!(config.admin.token().unwrap(), None);
    assert!(config.mail.is_none());
    let limits = HostLimits {
        partition_records: 5_000,
        partition_bytes: 8 << 20,
        host_bytes: 256 << 20,
        drain: Duration::from_secs(30),
        revoke_drain: Duration::from_secs(3),
    };
    assert_eq!(config.limits, limits);
    let [handler] = config.handlers.as_slice() else { panic!("{:?}", config.handlers) };
    assert_eq!(handler.file, folder.path().join("audit/handler.toml"));
    assert_eq!(handler.manifest.name, "audit");
    assert!(handler.databases.keys().eq(["ledger"]));
    let database = &handler.databases["ledger"];
    assert_eq!(database.write, Some(Address::Sqlite(folder.path().join("data/audit.db"))));
    assert_eq!((&database.read, database.every_commit_to_disk), (&None, true));
    assert_eq!((database.write_connections, database.read_connections), (1, 4));
    assert!(database.password.is_none());
}

#[test]
fn every_key_is_read() {
    let kafka = "[\"one:9092\", \"[::1]:9093\"]\ngroup-protocol = \"consumer\"\ninstance = \"host-1\"\n\
                 session-timeout = \"20s\"";
    let text = SMALLEST.replace("[\"one:9092\"]", kafka)
        + r#"
    synchronous = "normal"
    [kafka.properties]
    "security.protocol" = "ssl"
    "socket.timeout.ms" = 5000
    "log.connection.close" = false
    [mail]
    folder = "mails"
    [admin]
    listen = "0.0.0.0:80"
    token-file = "token"
    [limits]
    partition-records = 7
    partition-bytes = "2MiB"
    host-bytes = "3MiB"
    drain = "5s"
    revoke-drain = "7s"
    "#;
    let (folder, config) = read(&text);
    let config = config.unwrap();
    assert_eq!(config.kafka.brokers, "one:9092,[::1]:9093");
    let properties =
        [("log.connection.close", "false"), ("security.protocol", "ssl"), ("socket.timeout.ms", "5000")];
    assert_eq!(config.kafka.properties, properties.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    assert!(!config.handlers[0].databases["ledger"].every_commit_to_disk);
    assert!(matches!(config.mail, Some(Mail::Folder(mails)) if mails == folder.path().join("mails")));
    let membership = Membership {
        protocol: GroupProtocol::Consumer,
        instance: Some("host-1".to_owned()),
        session_timeout: Duration::from_secs(20),
    };
    assert_eq!(config.kafka.membership, membership);
    assert_eq!(config.admin.listen, SocketAddr::from(([0, 0, 0, 0], 80)));
    fs::write(folder.path().join("token"), "0123456789abcdef\n").unwrap();
    assert_eq!(config.admin.token().unwrap().as_deref(), Some("0123456789abcdef"));
    let limits = HostLimits {
        partition_records: 7,
        partition_bytes: 2 << 20,
        host_bytes: 3 << 20,
        drain: Duration::from_secs(5),
        revoke_drain: Duration::from_secs(7),
    };
    assert_eq!(config.limits, limits);
}

#[test]
fn a_token_that_is_none_is_refused_when_it_is_read() {
    let (folder, config) = read(&format!("{SMALLEST}\n[admin]\ntoken-file = \"token\""));
    let admin = config.unwrap().admin;
    let told = |content: &str| {
        fs::write(folder.path().join("token"), content).unwrap();
        admin.token().unwrap_err().to_string()
    };
    assert!(told("").contains("`admin.token-file`: a token has 16 characters at least, this one has 0"));
    assert!(told("0123456789 abcdef").contains("without blanks"));
    assert!(told("0123456789äbcdef").contains("letters, digits and signs"));
    fs::remove_file(folder.path().join("token")).unwrap();
    let missing = admin.token().unwrap_err().to_string();
    assert!(missing.contains("`admin.token-file`: cannot read"), "{missing}");
}

#[test]
fn the_admin_port_is_found_without_what_the_file_names() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keylane.toml");
    fs::write(&file, format!("{SMALLEST}\n[admin]\nlisten = \"127.0.0.1:7\"")).unwrap();
    assert_eq!(Admin::load(&file).unwrap().listen, SocketAddr::from(([127, 0, 0, 1], 7)));
}

#[test]
fn limits_that_do_not_fit_the_session_or_each_other() {
    let told = |kafka: &str, limits: &str| {
        let brokers = format!("[\"one:9092\"]\n{kafka}");
        let (_folder, config) =
            read(&format!("{}\n[limits]\n{limits}", SMALLEST.replace("[\"one:9092\"]", &brokers)));
        config
            .map(|config| config.limits)
            .map_err(|error| (error.to_string(), error.hint().unwrap_or_default()))
    };
    // The default gives way to a short session, a written value does not.
    let short = told("session-timeout = \"4s\"", "").unwrap();
    assert_eq!(short.revoke_drain, Duration::from_secs(2));
    for (kafka, limits, problem, hint) in [
        (
            "session-timeout = \"4s\"",
            "revoke-drain = \"3s\"",
            "`limits.revoke-drain`: 3s is more than half of the group's session, 4s",
            "write \"2s\" at most, or raise `kafka.session-timeout`",
        ),
        (
            "session-timeout = \"1s\"",
            "",
            "`kafka.session-timeout`: a run of handler \"audit\" may take 1050ms (its `limits.slice` and `limits.time`), but its group's session lasts 1s",
            "raise `kafka.session-timeout`, or lower the limits in ",
        ),
        (
            "",
            "partition-bytes = \"8MiB\"\nhost-bytes = \"7MiB\"",
            "`limits.host-bytes`: one partition may hold more, 8MiB, than the whole host, 7MiB",
            "raise `host-bytes`, or lower `partition-bytes`",
        ),
        ("instance = \"Host 1\"", "", "`kafka.instance`: \"Host 1\" is not a name", ""),
    ] {
        let (message, advice) = told(kafka, limits).unwrap_err();
        assert!(message.contains(problem), "{message}");
        assert!(advice.starts_with(hint), "{advice}");
    }
}

#[test]
fn a_mail_server_has_the_port_of_its_encryption_and_a_password_that_is_read_late() {
    let server = |lines: &str| format!("{SMALLEST}\n[mail.smtp]\nhost = \"smtp.example.org\"\n{lines}");
    for (tls, port) in [("implicit", 465), ("starttls", 587), ("none", 25)] {
        let (_folder, config) = read(&server(&format!("tls = \"{tls}\"")));
        let Some(Mail::Smtp(smtp)) = config.unwrap().mail else { panic!("no server") };
        assert_eq!((smtp.port, smtp.login.is_some()), (port, false), "{tls}");
    }
    let (folder, config) = read(&server("port = 2525\nuser = \"audit\"\npassword-file = \"secret\""));
    let Some(Mail::Smtp(smtp)) = config.unwrap().mail else { panic!("no server") };
    assert_eq!((smtp.port, smtp.tls), (2525, Tls::Starttls));
    let login = smtp.login.unwrap();
    assert_eq!(login.user, "audit");
    let missing = login.password.read().unwrap_err().to_string();
    assert!(missing.contains("`mail.smtp.password-file`: cannot read"), "{missing}");
    fs::write(folder.path().join("secret"), "pass word\n").unwrap();
    assert_eq!(login.password.read().unwrap(), "pass word");
}

#[test]
fn a_value_is_as_the_host_file_says_under_the_manifests_name() {
    let manifest = format!("{MANIFEST}[grants.config]\ncurrency = \"EUR\"\ntoken = \"\"\n");
    let read = |lines: &str| {
        let (folder, _) = read(SMALLEST);
        fs::write(folder.path().join("audit/handler.toml"), &manifest).unwrap();
        fs::write(folder.path().join("secret"), "s3cret\n").unwrap();
        let file = folder.path().join("keylane.toml");
        fs::write(&file, format!("{SMALLEST}\n[config.audit]\n{lines}")).unwrap();
        (folder, HostConfig::load(&file))
    };
    let (_folder, config) = read("currency = \"USD\"\ntoken-file = \"secret\"");
    let values = config.unwrap().handlers.remove(0).values;
    let read_late = |name: &str| values[name].read().unwrap();
    assert_eq!((read_late("currency"), read_late("token")), ("USD".to_owned(), "s3cret".to_owned()));
    for (lines, said) in [
        ("curency = \"USD\"", "unknown key `curency`"),
        ("token = \"a\"\ntoken-file = \"secret\"", "`token` of handler \"audit\" is said twice"),
        ("token-env-file = \"secret\"", "unknown key `token-env-file`"),
    ] {
        let (_folder, config) = read(lines);
        let refused = config.unwrap_err().to_string();
        assert!(refused.contains(said), "{lines}: {refused}");
    }
    let (_folder, config) = read("token-file = \"gone\"");
    let refused = config.unwrap().handlers[0].values["token"].read().unwrap_err().to_string();
    assert!(refused.contains("`config.audit.token-file`: cannot read"), "{refused}");
}
