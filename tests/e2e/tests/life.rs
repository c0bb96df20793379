//! The life of a host: what it does without a broker or a topic, and how it ends.

use std::time::Duration;

use anyhow::{Result, ensure};
use keylane_e2e::broker::{Broker, Record};
use keylane_e2e::check::{facts, order};
use keylane_e2e::deployment::{Deployment, Part, Settings, free_port};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::host;
use keylane_e2e::metrics::Metrics;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::sqlite::Database;
use keylane_e2e::story::{self, Scale, TASKS};
use keylane_test_support::waiting;

/// How long a host may take for any step of its life.
const LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to end at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What the handler `lasting` reads.
const LASTING_WORK: &str = "lasting-work";

const RECORDER: [Part; 1] = [Part { folder: "tests/guests/recorder" }];

/// Waits until the admin port answers with this code on `/readyz`.
fn until_ready_is(deployment: &Deployment, code: u16) -> Result<String> {
    waiting::until(&format!("/readyz answers {code}"), LIMIT, || {
        let answer = host::ask(deployment, "/readyz").ok();
        Ok(answer.filter(|(found, _)| *found == code).map(|(_, body)| body))
    })
}

#[test]
fn without_a_broker_it_keeps_trying_until_there_is_one() -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let broker = DevBroker::start_kept(port, folder.path())?;
    PlainClient::new(&broker.bootstrap).create_topics(&[TASKS, facts::ENTRIES], 3)?;
    let bootstrap = broker.bootstrap.clone();
    broker.stop()?;

    let deployment = Deployment::new(&bootstrap, "life", &RECORDER)?;
    let mut host = host::start(&deployment, "host.log")?;
    host.until_says(&bootstrap, LIMIT)?;
    let health = until_ready_is(&deployment, 503)?;
    ensure!(health.contains("starting"), "/readyz says {health:?}");
    let _broker = DevBroker::start_kept(port, folder.path())?;
    until_ready_is(&deployment, 200)?;
    host.terminate()?;
    ensure!(host.wait(LIMIT)?.success(), "{}", host.last_words());
    Ok(())
}

#[test]
fn without_a_broker_sigterm_ends_it_with_0() -> Result<()> {
    let deployment = Deployment::new(&format!("127.0.0.1:{}", free_port()?), "life", &RECORDER)?;
    let mut host = host::start(&deployment, "host.log")?;
    until_ready_is(&deployment, 503)?;
    host.terminate()?;
    let status = host.wait(LIMIT)?;
    ensure!(status.success(), "it ended with {status}; {}", host.last_words());
    let phases = host.phases()?;
    ensure!(phases.last().is_some_and(|phase| phase == "stopped"), "its phases were {phases:?}");
    Ok(())
}

#[test]
fn an_unknown_topic_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let deployment = Deployment::new(&broker.bootstrap, "life", &RECORDER)?;
    let mut host = host::start(&deployment, "host.log")?;
    let status = host.wait(LIMIT)?;
    ensure!(status.code() == Some(2), "it ended with {status}; {}", host.last_words());
    let log = host.log()?;
    let error = log.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
    ensure!(error.contains(TASKS) && error.contains(&broker.bootstrap), "it said {error:?}; {log}");
    Ok(())
}

/// A database that is away when the host starts keeps its own handler waiting, and no other; a host that is stopped
/// meanwhile does not wait for it.
#[test]
fn a_handler_whose_database_is_away_waits_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    let deployment = beside_lasting(&broker, "for 0")?;
    let records = story::tell(Scale { tasks: 10, workers: 3, seed: 5 }).records;
    let mut writer = client.writer(TASKS)?;
    writer.write(&records)?;
    writer.finish()?;

    let file = deployment.database("recorder");
    std::fs::write(&file, "")?;
    let mut held = Database::open(&file)?;
    held.rows("BEGIN EXCLUSIVE")?;
    let mut stopped = host::start(&deployment, "host-1.log")?;
    until_lasting_works(&deployment)?;
    let health = until_ready_is(&deployment, 503)?;
    ensure!(health.contains("recorder: waiting: the database"), "/readyz says {health:?}");
    ensure!(health.contains("host: starting"), "/readyz says {health:?}");
    stopped.terminate()?;
    ensure!(stopped.wait(LIMIT)?.success(), "{}", stopped.last_words());

    let mut host = host::start(&deployment, "host-2.log")?;
    host.until_says("keylane keeps trying", LIMIT)?;
    held.rows("ROLLBACK")?;
    drop(held);
    until_ready_is(&deployment, 200)?;
    recorder_sees(&deployment, records.len())?;
    host.terminate()?;
    ensure!(host.wait(LIMIT)?.success(), "{}", host.last_words());
    Ok(())
}

/// So does one whose database answers, but in which a migration runs and runs; stopped, it leaves nothing half done.
#[test]
fn a_handler_whose_migration_lasts_waits_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let deployment = beside_lasting(&broker, "for 0")?;
    let endless = deployment.folder().join("recorder/migrations/0002_endless.sql");
    let text = "CREATE TABLE endless AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                SELECT max(i) AS i FROM n;";
    std::fs::write(&endless, text)?;

    let mut stopped = host::start(&deployment, "host-1.log")?;
    until_lasting_works(&deployment)?;
    let health = until_ready_is(&deployment, 503)?;
    ensure!(health.contains("recorder: waiting: its tables are not up to date"), "/readyz says {health:?}");
    stopped.terminate()?;
    ensure!(stopped.wait(LIMIT)?.success(), "{}", stopped.last_words());

    std::fs::remove_file(endless)?;
    let mut host = host::start(&deployment, "host-2.log")?;
    until_ready_is(&deployment, 200)?;
    host.terminate()?;
    ensure!(host.wait(LIMIT)?.success(), "{}", host.last_words());
    Ok(())
}

/// A host that is told to end while one of its handlers is still being started lets the others finish what they do.
#[test]
fn sigterm_while_it_starts_lets_those_finish_that_run() -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, free_port()?);
    let broker = DevBroker::start_kept(port, folder.path())?;
    let deployment = beside_lasting(&broker, "for 2000")?;
    broker.stop()?;

    let mut host = host::start(&deployment, "host.log")?;
    waiting::until("the recorder's tables are there", LIMIT, || {
        let database = Database::open(&deployment.database("recorder"));
        Ok(database.and_then(|mut database| database.number("SELECT count(*) FROM seen")).ok())
    })?;
    host.until_says("Connection refused", LIMIT)?;
    // It starts to run when the database has been told which cluster it belongs to.
    let mut held = Database::open(&deployment.database("recorder"))?;
    held.rows("BEGIN IMMEDIATE")?;
    let _broker = DevBroker::start_kept(port, folder.path())?;
    until_an_event_runs(&deployment)?;
    host.terminate()?;
    if host.log()?.contains("its partitions wait") {
        eprintln!("the machine is slow: both handlers had started before the signal, which shows less");
    }
    let status = host.wait(LIMIT)?;
    ensure!(status.success(), "it ended with {status}; {}", host.last_words());
    let done = Database::open(&deployment.database("lasting"))?.number("SELECT count(*) FROM done")?;
    ensure!(done == 1, "{done} events are done; {}", host.last_words());
    Ok(())
}

#[test]
fn sigterm_while_it_works_loses_nothing_and_keeps_order() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    let deployment = Deployment::new(&broker.bootstrap, "life", &RECORDER)?;
    let records = story::tell(Scale { tasks: 1_500, workers: 30, seed: 5 }).records;
    client.create_topics(&[TASKS, facts::ENTRIES], 3)?;
    let mut writer = client.writer(TASKS)?;
    writer.write(&records)?;
    writer.finish()?;

    let mut host = host::start(&deployment, "host-1.log")?;
    recorder_sees(&deployment, records.len() / 5)?;
    host.terminate()?;
    let status = host.wait(LIMIT)?;
    ensure!(status.success(), "it ended with {status}; {}", host.last_words());

    let mut host = host::start(&deployment, "host-2.log")?;
    Onlooker::new(&broker.bootstrap).until_all_is_done(&deployment.subscriptions(), LIMIT)?;
    host.terminate()?;
    ensure!(host.wait(LIMIT)?.success(), "{}", host.last_words());
    let tasks = client.read(TASKS)?;
    ensure!(tasks.len() == records.len(), "{} records of {}", tasks.len(), records.len());
    order::check(&deployment.database("recorder"), &[(TASKS, &tasks)])
}

#[test]
fn a_second_sigterm_means_now() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    // An event may take two minutes: the group has to wait for that long.
    let settings = Settings { session_s: 180, ..Settings::default() };
    let sleeper = [Part { folder: "tests/e2e/sleeper" }];
    let deployment = Deployment::with(&broker.bootstrap, "life", &sleeper, &settings)?;
    client.create_topics(&[TASKS], 1)?;
    let mut writer = client.writer(TASKS)?;
    writer.write(&[Record { key: None, value: Some("sleep".to_owned()), headers: Vec::new() }])?;
    writer.finish()?;

    let mut host = host::start(&deployment, "host.log")?;
    until_an_event_runs(&deployment)?;
    host.terminate()?;
    host.until_says("draining", LIMIT)?;
    host.terminate()?;
    let status = host.wait(AT_ONCE)?;
    ensure!(!status.success(), "it ended with {status} although an event was cut off");
    Ok(())
}

/// The recorder and beside it the handler `lasting`, with this work to do.
fn beside_lasting(broker: &DevBroker, work: &str) -> Result<Deployment> {
    let client = PlainClient::new(&broker.bootstrap);
    client.create_topics(&[TASKS, facts::ENTRIES, LASTING_WORK], 1)?;
    let mut writer = client.writer(LASTING_WORK)?;
    writer.write(&[Record { key: None, value: Some(work.to_owned()), headers: Vec::new() }])?;
    writer.finish()?;
    let parts = [Part { folder: "tests/guests/recorder" }, Part { folder: "tests/e2e/lasting" }];
    Deployment::new(&broker.bootstrap, "life", &parts)
}

/// Waits until that handler has done its work.
fn until_lasting_works(deployment: &Deployment) -> Result<()> {
    waiting::until("the other handler works", LIMIT, || {
        let done = Database::open(&deployment.database("lasting"));
        let done = done.and_then(|mut database| database.number("SELECT count(*) FROM done"));
        Ok(done.ok().filter(|done| *done == 1))
    })?;
    Ok(())
}

/// Waits until a run is out.
fn until_an_event_runs(deployment: &Deployment) -> Result<()> {
    waiting::closely("an event runs", LIMIT, || {
        let metrics = host::ask(deployment, "/metrics").map(|(_, body)| body).unwrap_or_default();
        Ok((Metrics::read(&metrics)?.sum("keylane_runs", &[]) > 0.0).then_some(()))
    })
}

/// Waits until the recorder has seen at least so many events.
fn recorder_sees(deployment: &Deployment, events: usize) -> Result<()> {
    let file = deployment.database("recorder");
    let events = i64::try_from(events)?;
    waiting::until(&format!("{events} events are seen"), LIMIT, || {
        let database = Database::open(&file);
        let seen = database.and_then(|mut database| database.number("SELECT count(*) FROM seen"));
        Ok(seen.ok().filter(|seen| *seen >= events))
    })?;
    Ok(())
}
