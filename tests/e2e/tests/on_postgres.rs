//! The task exchange with its databases on a real PostgreSQL: a host is killed amid the rewards, and the server amid the
//! payouts, after which it is away for seconds. In the end each worker is paid once and told so by one mail, each fact
//! is published once, analytics has what the books have, and no event was charged or handled again.
//! A reader of another database in the same host goes on meanwhile. Afterwards, in a fleet of its own, a handler that may
//! only read the ledger: it finds what is there, changes nothing, and is not charged while the server is away.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Record};
use keylane_e2e::check::{facts, mail};
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::effects;
use keylane_e2e::fleet::TOKEN;
use keylane_e2e::host;
use keylane_e2e::member::Host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::payday::{COMMANDS, DAY, check_published, completed};
use keylane_e2e::plain::PlainClient;
use keylane_e2e::postgres::Database;
use keylane_e2e::scenario::say;
use keylane_e2e::story::{self, DAYS, TASKS};
use keylane_test_support::{Checks, PostgreSql, SmtpServer, postgres, waiting};

const WORKERS: usize = 3_000;
/// Accounting walks through a thousand of them at a time; who has found a full page asks for another.
const PAGES: usize = WORKERS / 1_000 + 1;
const PARTITIONS: i32 = 4;
/// How long a step may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);
/// What the host says of a handler whose database is away, in front of why.
const WAITS: &str = "the handler's database: ";
/// A host waits for ten seconds to note which mails were taken. Where the server is away for much less, nothing is
/// left that would explain a mail which comes again.
const NOTED_WITHIN: Duration = Duration::from_secs(8);
const READER: Part = Part { folder: "tests/e2e/asking" };
const EXCHANGE: [Part; 4] = [
    Part { folder: "handlers/accounting" },
    Part { folder: "handlers/email" },
    Part { folder: "handlers/analytics" },
    READER,
];
/// What those are called that write.
const HANDLERS: [&str; 3] = ["accounting", "email", "analytics"];
const QUESTIONS: &str = "questions";
const ECHOES: &str = "echoes";

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    let name = "each_worker_is_paid_once_and_a_reader_sees_it";
    if checks.wants(name) {
        match postgres("the task exchange and a reader of its ledger, end to end") {
            Ok(None) => {}
            Ok(Some(server)) => checks.run(name, || play(&server)),
            Err(error) => checks.report(name, Duration::ZERO, Err(error)),
        }
    }
    checks.finish()
}

/// The handlers of the task exchange, each with a database of its own on the server, and a reader that needs none of
/// those.
struct Exchange {
    deployment: Deployment,
    /// The ledger's address.
    address: String,
    ledger: Database,
    mails: Database,
    analytics: Database,
    /// Where mails go.
    mail_server: SmtpServer,
}

impl Exchange {
    fn new(bootstrap: &str, server: &PostgreSql, read: &Path) -> Result<Self> {
        let (address, mails, analytics) = (server.database()?, server.database()?, server.database()?);
        let write = |address: &str| format!("write = {address:?}");
        // No bytes are an empty database of SQLite's.
        std::fs::write(read, "").with_context(|| read.display().to_string())?;
        let databases = [
            ("accounting", write(&address)),
            ("email", write(&mails)),
            ("analytics", write(&analytics)),
            ("asking", format!("read = \"sqlite://{}\"", read.display())),
        ];
        let mail_server = SmtpServer::start()?;
        let settings = Settings { mail_port: Some(mail_server.port()), ..settings(databases.into()) };
        Ok(Self {
            deployment: Deployment::with(bootstrap, "exchange", &EXCHANGE, &settings)?,
            mail_server,
            ledger: Database::new(&address)?,
            mails: Database::new(&mails)?,
            analytics: Database::new(&analytics)?,
            address,
        })
    }

    /// Waits until all is done and has left the outboxes.
    fn until_done(&self, onlooker: &mut Onlooker) -> Result<()> {
        effects::until_all_has_left(&self.deployment, onlooker, LIMIT, || {
            let outboxes = [&self.ledger, &self.mails, &self.analytics];
            outboxes.into_iter().map(|outbox| outbox.number("SELECT count(*) FROM keylane.outbox")).sum()
        })
    }
}

fn play(server: &PostgreSql) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    let topics = [TASKS, DAYS, facts::ENTRIES, facts::PAYOUTS, COMMANDS, QUESTIONS, ECHOES];
    client.create_topics(&topics, PARTITIONS)?;
    let exchange = Exchange::new(&broker.bootstrap, server, &folder.path().join("read.db"))?;
    let mut onlooker = Onlooker::new(&broker.bootstrap);

    let (host, left) = earn(&exchange, &client, &mut onlooker)?;
    let last_words = || host.process.last_words();
    let mails = pay(&exchange, &client, server, &host, &mut onlooker).with_context(last_words)?;
    judge(&exchange)?;
    let payouts = check_published(&client, WORKERS)?;
    let taken = exchange.mail_server.mails();
    let (before, after) = taken.split_at(mails);
    let again = mail::check(&payouts, &[before, after])?;
    say(&format!("{WORKERS} workers are paid once and told once; {again} mails came again"));
    only_what_was_left_is_done(&host, left)?;
    // Its reader would hear the other one's questions.
    host.stop()?;
    read_only(&broker.bootstrap, &client, &exchange, server)
}

fn settings(databases: BTreeMap<&'static str, String>) -> Settings {
    Settings { databases, token: Some(TOKEN.to_owned()), ..Settings::default() }
}

fn write(client: &PlainClient, topic: &str, records: &[Record]) -> Result<()> {
    let mut writer = client.writer(topic)?;
    writer.write(records)?;
    writer.finish()
}

/// All rewards; the host is killed when a tenth of them is in the books. Answers the next one, and how many tasks were
/// left to it.
fn earn(exchange: &Exchange, client: &PlainClient, onlooker: &mut Onlooker) -> Result<(Host, i64)> {
    let Exchange { deployment, ledger, .. } = exchange;
    let first = host::start(deployment, "host-1.log")?;
    waiting::until("the ledger is made", LIMIT, || Ok(ledger.has("entries")?.then_some(())))
        .with_context(|| first.last_words())?;
    write(client, TASKS, &(0..WORKERS).map(completed).collect::<Vec<_>>())?;
    until_a_tenth(ledger, "SELECT count(*) FROM entries").with_context(|| first.last_words())?;
    first.kill()?;
    let left = i64::try_from(WORKERS)? - ledger.number("SELECT count(*) FROM entries")?;
    ensure!(left > 0, "all was done before the host was killed: that shows nothing");
    let second = host::start(deployment, "host-2.log")?;
    exchange.until_done(onlooker).with_context(|| second.last_words())?;
    let entries = ledger.number("SELECT count(*) FROM entries")?;
    ensure!(entries == i64::try_from(WORKERS)?, "{entries} rewards for {WORKERS} tasks");
    Ok((Host::of(deployment, second), left))
}

/// The day closes; the server is killed when a tenth is paid, and started again when the host has said for a while that
/// it is away. Answers how many mails had been sent by then, if one of those may come again.
fn pay(
    exchange: &Exchange,
    client: &PlainClient,
    server: &PostgreSql,
    host: &Host,
    onlooker: &mut Onlooker,
) -> Result<usize> {
    let ledger = &exchange.ledger;
    let failed_before = failed(host, &HANDLERS)?;
    write(client, DAYS, &[story::day_closed(DAY)])?;
    let paid = "SELECT count(*) FROM entries WHERE kind = 'payout'";
    until_a_tenth(ledger, paid)?;
    let before = ledger.number(paid)?;
    let killed = Instant::now();
    server.kill()?;
    ensure!(
        before < i64::try_from(WORKERS)?,
        "all were paid before the server was killed: that shows nothing"
    );
    // A connection is tried for five seconds before anybody says so: so long it is away.
    waiting::until("/readyz says that accounting's database is away", LIMIT, || {
        let (code, words) = host.readiness()?;
        let says = |line: &str| line.starts_with("accounting: ") && line.contains(WAITS);
        Ok((code == 503 && words.lines().any(says)).then_some(()))
    })?;
    let (code, _) = host::ask(&exchange.deployment, "/livez")?;
    ensure!(code == 200, "/livez answers {code}");
    ask(client, "SELECT 40 + 2")?;
    until_echoed(client, 42).context("a reader of another database goes on")?;
    let mails = exchange.mail_server.taken();
    server.up()?;
    let away = killed.elapsed();
    exchange.until_done(onlooker)?;
    host.until_ready_is(200, "")?;
    let failed = failed(host, &HANDLERS)? - failed_before;
    ensure!(failed == 0.0, "{failed} attempts were charged to events whose database was away");
    say(&format!(
        "PostgreSQL was away for {away:.1?}, after {before} of {WORKERS} payouts and {mails} mails"
    ));
    Ok(if away < NOTED_WITHIN { 0 } else { mails })
}

/// How many attempts of these handlers have failed.
fn failed(host: &Host, handlers: &[&str]) -> Result<f64> {
    let metrics = host.metrics()?;
    let failed = |handler: &&str| metrics.sum("keylane_attempts_failed_total", &[("handler", handler)]);
    Ok(handlers.iter().map(failed).sum())
}

/// Natural keys hide from the books that an event is handled again; the host that does so counts it. What it had
/// committed when the server was killed it may not have counted.
fn only_what_was_left_is_done(host: &Host, tasks: i64) -> Result<()> {
    let workers = i64::try_from(WORKERS)?;
    let commands = workers + i64::try_from(PAGES)?;
    let metrics = host.metrics()?;
    for (handler, left) in [("accounting", tasks + 1 + commands), ("email", workers)] {
        let done = metrics.sum("keylane_events_done_total", &[("handler", handler)]);
        ensure!(done <= left as f64, "{handler} has done {done} events; {left} were left to do");
    }
    Ok(())
}

fn until_a_tenth(ledger: &Database, query: &'static str) -> Result<()> {
    let tenth = i64::try_from(WORKERS / 10)?;
    waiting::closely(query, LIMIT, || Ok((ledger.number(query)? >= tenth).then_some(())))
}

fn judge(exchange: &Exchange) -> Result<()> {
    let Exchange { ledger, analytics, .. } = exchange;
    let workers = i64::try_from(WORKERS)?;
    let company = ledger.number("SELECT balance FROM balances WHERE account = 'company'")?;
    for (database, query, wanted) in [
        (ledger, "SELECT count(*) FROM entries", 2 * workers),
        (ledger, "SELECT count(*) FROM entries WHERE kind = 'payout'", workers),
        (ledger, "SELECT count(*) FROM postings", 4 * workers),
        (ledger, "SELECT sum(amount)::bigint FROM postings", 0),
        (ledger, "SELECT count(*) FROM balances WHERE account LIKE 'worker:%' AND balance <> 0", 0),
        (analytics, "SELECT count(*) FROM entries", 2 * workers),
        (analytics, "SELECT count(*) FROM completions", workers),
        (analytics, "SELECT sum(take)::bigint FROM company_take", company),
        (analytics, "SELECT count(*) FROM dearest_tasks", 3),
    ] {
        let found = database.number(query)?;
        ensure!(found == wanted, "{query}: {found}, not {wanted}");
    }
    Ok(())
}

/// A handler whose grant is `access = "read"` asks, tries to write, and asks while the server is away.
fn read_only(bootstrap: &str, client: &PlainClient, exchange: &Exchange, server: &PostgreSql) -> Result<()> {
    let Exchange { ledger, address, .. } = exchange;
    let databases = [("asking", format!("read = {address:?}"))].into();
    let deployment = Deployment::with(bootstrap, "asking", &[READER], &settings(databases))?;
    let host = Host::of(&deployment, host::start(&deployment, "asking.log")?);
    let last_words = || host.process.last_words();
    ask(client, "SELECT count(*) FROM entries")?;
    until_echoed(client, 2 * WORKERS).with_context(last_words)?;

    let before = ledger.number("SELECT count(*) FROM postings")?;
    let writes =
        ["do DELETE FROM postings", "try DELETE FROM postings", "ask DELETE FROM postings RETURNING 1"];
    let writes: Vec<Record> = writes.into_iter().map(question).collect();
    write(client, QUESTIONS, &writes)?;
    let buried = waiting::until("the writes are buried", LIMIT, || {
        let letters = letters(client)?;
        Ok((letters.len() == writes.len()).then_some(letters))
    })
    .with_context(last_words)?;
    let values = |records: &[Record]| records.iter().map(|one| one.value.clone()).collect::<BTreeSet<_>>();
    ensure!(values(&buried) == values(&writes), "{buried:?}");
    ensure!(ledger.number("SELECT count(*) FROM postings")? == before, "a reader has deleted");

    let failed = || failed(&host, &["asking"]);
    let failed_before = failed()?;
    server.kill()?;
    ask(client, "SELECT 7 + count(*) FROM entries")?;
    waiting::until("it is asked while the server is away", LIMIT, || {
        Ok((failed()? >= failed_before + 2.0).then_some(()))
    })
    .with_context(last_words)?;
    server.up()?;
    until_echoed(client, 2 * WORKERS + 7).with_context(last_words)?;
    ensure!(letters(client)?.len() == writes.len(), "who asked while the server was away is charged");
    host.stop()
}

fn question(text: &str) -> Record {
    Record { key: Some("question".to_owned()), value: Some(text.to_owned()), headers: Vec::new() }
}

fn ask(client: &PlainClient, query: &str) -> Result<()> {
    write(client, QUESTIONS, &[question(&format!("ask {query}"))])
}

fn until_echoed(client: &PlainClient, number: usize) -> Result<()> {
    let wanted = format!("Some(Value::Integer({number}))");
    waiting::until(&wanted, LIMIT, || {
        let echoes = client.read(ECHOES)?;
        Ok(echoes.iter().any(|echo| echo.record.value.as_ref() == Some(&wanted)).then_some(()))
    })
}

/// What lies in the reader's dead letters.
fn letters(client: &PlainClient) -> Result<Vec<Record>> {
    let stored = client.read(&format!("{QUESTIONS}.asking.dlq"))?;
    Ok(stored.into_iter().map(|one| one.record).collect())
}
