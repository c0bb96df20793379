//! Handlers that take their time: beside a fast one in the same host, and at the end of a host.

mod on_brokers;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Subscription};
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::fleet::{BROKER_PROPERTIES, LIMIT, TOKEN, check_copies, until_each_reads};
use keylane_e2e::member::Host;
use keylane_e2e::metrics::Metrics;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::sqlite::Database;
use keylane_e2e::topics::{Topics, by_key, numbered};
use keylane_e2e::{host, usage};
use keylane_test_support::waiting;
use on_brokers::{Check, On, copies};

const CHECKS: &[Check] = &[
    ("a_slow_handler_beside_a_fast_one", On::Every, beside),
    ("a_drain_longer_than_the_session_of_a_classic_group", On::Every, classic),
    ("a_drain_longer_than_the_session_of_a_kip_848_group", On::Kafka, consumer),
];

fn main() -> ExitCode {
    on_brokers::run("what slow handlers do to others", BROKER_PROPERTIES, CHECKS)
}

const SESSION: Duration = Duration::from_secs(6);

const HANDLERS: [Part; 2] = [Part { folder: "tests/e2e/slow" }, Part { folder: "tests/e2e/fast" }];
/// What the handlers read, and where the slow one tells what it did.
const SLOW: &str = "slow-work";
const FAST: &str = "fast-work";
const SEEN: &str = "chaos-seen";
/// Events of one key that take long: together more than three sessions.
const SLOW_EVENTS: usize = 10;
const SLOW_EVENT_MS: u64 = 2_000;
/// What waits behind them, and how large each of these is: far more than the host may hold.
const BACKLOG: usize = 1_600;
const BACKLOG_EVENT_BYTES: usize = 64 * 1024;
/// By how much the host may grow meanwhile: the records of a partition and its prefetch, twice that for what
/// the allocator keeps, and the handlers' instances. The backlog is 100 MiB.
const GROWTH_MIB: u64 = 50;
const FAST_EVENTS: usize = 900;
const FAST_PARTITIONS: i32 = 3;

fn group(handler: &str, topic: &str) -> Subscription {
    Subscription { group: format!("beside.{handler}"), topics: vec![topic.to_owned()] }
}

fn beside(bootstrap: &str) -> Result<()> {
    let topics = Topics::new(bootstrap)?;
    topics.create(SLOW, 1)?;
    topics.create(FAST, FAST_PARTITIONS)?;
    topics.create(SEEN, 1)?;
    let session_s = u32::try_from(SESSION.as_secs())?;
    let settings = Settings { session_s, token: Some(TOKEN.to_owned()), ..Settings::default() };
    let deployment = Deployment::with(bootstrap, "beside", &HANDLERS, &settings)?;
    let host = Host::of(&deployment, host::start(&deployment, "host.log")?);
    until_each_reads(&[&host], &[8])?;
    let (changes, before) = (host.changes()?, usage::usage(host.process.id())?);

    topics.write(SLOW, 0, &slow_events())?;
    until_done_is(&host, "slow", 1)?;
    let fast = fast_events();
    for (partition, records) in (0..).zip(&fast) {
        topics.write(FAST, partition, records)?;
    }
    // The backlog comes meanwhile: on a crowded machine writing it takes longer than the slow events do.
    std::thread::scope(|scope| {
        let backlog = scope.spawn(|| Topics::new(bootstrap)?.write(SLOW, 0, &backlog()));
        let metrics = until_done_is(&host, "fast", FAST_EVENTS)?;
        let slow_done = done_by(&metrics, "slow");
        ensure!(
            slow_done < SLOW_EVENTS as f64,
            "the fast one took as long as the slow one: {slow_done} are done"
        );
        backlog.join().map_err(|_| anyhow::anyhow!("writing the backlog panicked"))?
    })?;
    Onlooker::new(bootstrap).until_all_is_done(&[group("fast", FAST)], LIMIT)?;
    let lag: u64 = host.partitions()?.iter().filter(|one| one.topic == FAST).filter_map(|one| one.lag).sum();
    ensure!(lag == 0, "the fast handler has a lag of {lag}: {:?}", host.partitions()?);
    check_copies(&copies(bootstrap)?, &by_key(&fast.concat()))?;

    until_done_is(&host, "slow", SLOW_EVENTS + BACKLOG)?;
    Onlooker::new(bootstrap).until_all_is_done(&[group("slow", SLOW)], LIMIT)?;
    ensure!(host.changes()? == changes, "partitions came or went: {}", host.process.last_words());
    let metrics = host.metrics()?;
    for name in ["keylane_leases_expired_total", "keylane_kafka_leases_expired_total"] {
        ensure!(metrics.sum(name, &[]) == 0.0, "{name}: {}", host.process.last_words());
    }
    let grown = usage::usage(host.process.id())?.rss_max_mib.saturating_sub(before.rss_mib);
    ensure!(grown <= GROWTH_MIB, "the host grew by {grown} MiB, at rest it had {} MiB", before.rss_mib);
    each_was_seen_once(bootstrap)?;
    host.stop()
}

fn slow_events() -> Vec<(String, String)> {
    (0..SLOW_EVENTS).map(|number| one_key(format!("s{number} slow {SLOW_EVENT_MS}"))).collect()
}

fn backlog() -> Vec<(String, String)> {
    let padding = "x".repeat(BACKLOG_EVENT_BYTES);
    (0..BACKLOG).map(|number| one_key(format!("b{number} done 0\n{padding}"))).collect()
}

fn one_key(value: String) -> (String, String) {
    ("one-key".to_owned(), value)
}

fn done_by(metrics: &Metrics, handler: &str) -> f64 {
    metrics.sum("keylane_events_done_total", &[("handler", handler)])
}

/// For each partition.
fn fast_events() -> Vec<Vec<(String, String)>> {
    let each = FAST_EVENTS / FAST_PARTITIONS as usize;
    (0..FAST_PARTITIONS).map(|partition| numbered(&format!("{FAST}-{partition}"), 0..each, 20)).collect()
}

/// Answers the metrics that tell it, so that what else they tell is of the same moment.
fn until_done_is(host: &Host, handler: &str, events: usize) -> Result<Metrics> {
    let mut count = 0.0;
    let waited = waiting::until(&format!("{handler}: {events} events are done"), LIMIT, || {
        let metrics = host.metrics()?;
        count = done_by(&metrics, handler);
        Ok((count >= events as f64).then_some(metrics))
    });
    waited.with_context(|| format!("{count} are; {}", host.process.last_words()))
}

/// What the slow handler tells: host, partition, offset, attempt and two times.
fn each_was_seen_once(bootstrap: &str) -> Result<()> {
    let told = PlainClient::new(bootstrap).read(SEEN)?;
    let mut offsets = BTreeSet::new();
    for record in &told {
        let words: Vec<_> = record.record.value.as_deref().unwrap_or_default().split(' ').collect();
        let [_, _, offset, attempt, _, _] = words[..] else { anyhow::bail!("it told {record:?}") };
        ensure!(attempt == "1", "attempt {attempt} of offset {offset}");
        ensure!(offsets.insert(offset.to_owned()), "offset {offset} was done twice");
    }
    ensure!(offsets.len() == SLOW_EVENTS + BACKLOG, "{} events were done", offsets.len());
    Ok(())
}

fn classic(bootstrap: &str) -> Result<()> {
    long_drain(bootstrap, "drain-classic", "")
}

fn consumer(bootstrap: &str) -> Result<()> {
    long_drain(bootstrap, "drain-consumer", "group-protocol = \"consumer\"")
}

const LASTING: [Part; 1] = [Part { folder: "tests/e2e/lasting" }];
const LASTING_WORK: &str = "lasting-work";
const LASTING_PARTITIONS: i32 = 2;
/// How long the first event takes: more than four sessions, since a newcomer must start meanwhile and then
/// says only after ten seconds that it has no partition. On a busy machine the first time shows nothing: then
/// the event takes longer.
const LASTING_MS: [u64; 2] = [28_000, 100_000];
/// Events of a run, the first one among them.
const LASTING_EVENTS: usize = 30;

/// What waits for the host, not for the component, is not bounded by `limits.time`, and so not by the
/// session. A newcomer wants the partitions meanwhile. It has another database, since one on the same file
/// would wait for the run's end before it joins: so it gets the partitions at last, and must not start them.
fn long_drain(bootstrap: &str, fleet: &str, kafka: &str) -> Result<()> {
    let topics = Topics::new(bootstrap)?;
    for lasting_ms in LASTING_MS {
        topics.create(LASTING_WORK, LASTING_PARTITIONS)?;
        let fleet = format!("{fleet}-{lasting_ms}");
        let lived = leave_and_come(&topics, (bootstrap, &fleet, kafka), lasting_ms);
        topics.delete(LASTING_WORK)?;
        if lived? {
            return Ok(());
        }
    }
    anyhow::bail!("no event took long enough for a newcomer to start meanwhile and wait for a session")
}

/// Answers whether the newcomer had to wait, and so whether anything was shown.
fn leave_and_come(
    topics: &Topics,
    (bootstrap, fleet, kafka): (&str, &str, &str),
    lasting_ms: u64,
) -> Result<bool> {
    let settings = Settings {
        session_s: u32::try_from(SESSION.as_secs())?,
        kafka: kafka.to_owned(),
        token: Some(TOKEN.to_owned()),
        drain_s: Some(120),
        ..Settings::default()
    };
    let place = || Deployment::with(bootstrap, fleet, &LASTING, &settings);
    let (first, second) = (place()?, place()?);
    let mut leaving = Host::of(&first, host::start(&first, "host.log")?);
    until_each_reads(&[&leaving], &[4])?;
    let last = (1..LASTING_EVENTS).map(|_| 0);
    let records =
        std::iter::once(lasting_ms).chain(last).map(|ms| ("one-key".to_owned(), format!("for {ms}")));
    topics.write(LASTING_WORK, 0, &records.collect::<Vec<_>>())?;
    waiting::until("the first event runs", LIMIT, || {
        Ok((leaving.metrics()?.sum("keylane_runs", &[]) > 0.0).then_some(()))
    })?;

    leaving.process.terminate()?;
    leaving.process.until_says("draining", LIMIT)?;
    let since = Instant::now();
    let mut coming = Host::of(&second, host::start(&second, "host.log")?);
    let nothing = "the group has given this host no partition";
    waiting::until("the first host has ended", LIMIT, || {
        let ended = !leaving.process.is_running()?;
        // A host that has drained gives its partitions back a moment before it ends.
        let taken = coming.reads().unwrap_or_default();
        ensure!(taken.is_empty() || done(&first)? == [0], "{taken:?} were taken while the first one drained");
        Ok(ended.then_some(()))
    })?;
    if since.elapsed() <= SESSION || coming.says(nothing)? == 0 {
        return Ok(false);
    }
    ensure!(leaving.process.wait(LIMIT)?.success(), "{}", leaving.process.last_words());
    coming.process.until_says("was made beside the database", LIMIT)?;
    ensure!(done(&second)?.is_empty(), "the newcomer has done {:?} beside another database", done(&second)?);
    coming.stop()?;

    let heir = Host::of(&first, host::start(&first, "host-2.log")?);
    until_each_reads(&[&heir], &[4])?;
    ensure!(done(&first)?.first() == Some(&0), "the host that left has done nothing");
    let group = Subscription { group: format!("{fleet}.lasting"), topics: vec![LASTING_WORK.to_owned()] };
    Onlooker::new(bootstrap).until_all_is_done(&[group], LIMIT)?;
    let (done, expected) = (done(&first)?, (0..i64::try_from(LASTING_EVENTS)?).collect::<Vec<_>>());
    ensure!(done == expected, "{done:?} are done; {}", heir.process.last_words());
    heir.stop()?;
    Ok(true)
}

/// The offsets that the handler of a host has written down, in the order in which it did.
fn done(deployment: &Deployment) -> Result<Vec<i64>> {
    let mut database = Database::open(&deployment.database("lasting"))?;
    database.numbers("SELECT record_offset FROM done ORDER BY rowid")
}
