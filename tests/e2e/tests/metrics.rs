//! What `/metrics` of a host tells after traffic with retries, dead letters, a parked lane and a rebalance: the
//! names of all metrics, as `tests/golden/metrics` lists them, and the values of those that are looked at first.
//!
//! `KEYLANE_BLESS=1 cargo test -p keylane-e2e --test metrics` writes the list anew.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Record, Subscription};
use keylane_e2e::check::facts;
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::fleet::{COPIES, LIMIT, TOKEN};
use keylane_e2e::member::Host;
use keylane_e2e::metrics::Metrics;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::story::TASKS;
use keylane_e2e::topics::{Topics, numbered};
use keylane_e2e::{host, place};
use keylane_test_support::waiting;

/// One that retries and writes to its database, one that buries, one that parks, one that sends mails, one
/// that produces.
const HANDLERS: [Part; 5] = [
    Part { folder: "tests/guests/recorder" },
    Part { folder: "tests/e2e/burying" },
    Part { folder: "tests/e2e/parking" },
    Part { folder: "handlers/email" },
    Part { folder: "tests/e2e/fast" },
];
const FLEET: &str = "metrics";
const FAST: &str = "fast-work";
const FAST_PARTITIONS: i32 = 2;
/// Of each of its partitions.
const FAST_EVENTS: usize = 50;
/// Records of [`TASKS`], which has one partition; five keys take turns.
const EVENTS: usize = 20;
const KEYS: usize = 5;
/// What traps, with three of its key behind it. The recorder wants a second attempt for offset 13.
const TRAP: usize = 3;

/// Metrics that come with their first event only, and that event does not come here, or not each time: why.
/// The list does not have them.
const NOT_MET: &[(&str, &str)] = &[
    (
        "keylane_claims_pruned_total",
        "claims are pruned every few seconds, which may be later than this looks",
    ),
    ("keylane_cut_bytes_held", "no handler without a database does things exactly once"),
    ("keylane_cut_events_refused_total", "no handler without a database does things exactly once"),
    ("keylane_cut_records_held", "no handler without a database does things exactly once"),
    ("keylane_cut_records_total", "no handler without a database does things exactly once"),
    ("keylane_cut_seconds", "no handler without a database does things exactly once"),
    ("keylane_cuts_total", "no handler without a database does things exactly once"),
    ("keylane_http_requests_total", "no handler asks other hosts"),
    ("keylane_http_requests_under_way", "no handler asks other hosts"),
    ("keylane_kafka_leases_expired_total", "no broker is away for a session"),
    ("keylane_kafka_partition_faults_total", "no partition is given up"),
    ("keylane_kafka_producer_queue_full_total", "the host's own bound is below that of its client"),
    ("keylane_kafka_progress_dropped_total", "progress comes too late for its assignment by chance only"),
    ("keylane_kafka_records_refused_total", "the broker takes all records"),
    ("keylane_kafka_records_resent_total", "the broker refuses no batch"),
    ("keylane_kafka_topics_untold_total", "the broker tells how large batches may be, if it is not too busy"),
    ("keylane_kafka_turned_away_total", "no two members share a name"),
    ("keylane_keyvalue_calls_total", "no handler keeps keys and values"),
    ("keylane_keyvalue_doomed_events_total", "no handler keeps keys and values"),
    ("keylane_log_lines_dropped_total", "no handler writes more lines than it may"),
    ("keylane_records_lost_total", "no records are deleted"),
    ("keylane_relay_batches_total", "no handler with a database produces anything"),
    ("keylane_relay_failed_total", "brokers and databases are there"),
    ("keylane_relay_mails_total", "no mail is sent"),
    ("keylane_relay_records_total", "no handler with a database produces anything"),
    ("keylane_relay_refused_total", "nothing is refused"),
    ("keylane_sql_sessions_ended_total", "no session is in the way"),
];

/// What the sources call by such a name and is no metric: tables, a role, what all of them begin with.
const NO_METRICS: [&str; 4] = ["keylane_", "keylane_claim", "keylane_fence", "keylane_guest"];

struct Scene {
    host: Host,
    bootstrap: String,
    _broker: DevBroker,
    deployment: Deployment,
    _folder: tempfile::TempDir,
}

fn deployment(bootstrap: &str) -> Result<Deployment> {
    let settings = Settings { token: Some(TOKEN.to_owned()), ..Settings::default() };
    Deployment::with(bootstrap, FLEET, &HANDLERS, &settings)
}

fn scene() -> Result<Scene> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let bootstrap = broker.bootstrap.clone();
    let topics = Topics::new(&bootstrap)?;
    for topic in [TASKS, facts::ENTRIES, facts::PAYOUTS, COPIES] {
        topics.create(topic, 1)?;
    }
    topics.create(FAST, FAST_PARTITIONS)?;
    let task = |number: usize| Record {
        key: Some(format!("key-{}", number % KEYS)),
        value: Some(if number == TRAP { "trap" } else { "fine" }.to_owned()),
        headers: Vec::new(),
    };
    let client = PlainClient::new(&bootstrap);
    let mut writer = client.writer(TASKS)?;
    writer.write(&(0..EVENTS).map(task).collect::<Vec<_>>())?;
    writer.finish()?;
    for partition in 0..FAST_PARTITIONS {
        topics.write(FAST, partition, &numbered("fast", 0..FAST_EVENTS, KEYS))?;
    }
    let deployment = deployment(&bootstrap)?;
    let host = Host::of(&deployment, host::start(&deployment, "host.log")?);
    Ok(Scene { host, bootstrap, _broker: broker, deployment, _folder: folder })
}

impl Scene {
    /// Waits until every handler has done what it can, and has committed it.
    fn until_at_rest(&self) -> Result<()> {
        let group = |handler: &str, topic: &str| Subscription {
            group: format!("{FLEET}.{handler}"),
            topics: vec![topic.to_owned()],
        };
        let done = [group("recorder", TASKS), group("burying", TASKS), group("fast", FAST)];
        let done = Onlooker::new(&self.bootstrap).until_all_is_done(&done, LIMIT);
        done.with_context(|| self.host.process.last_words())?;
        self.until("parking is at rest", |metrics| {
            metrics.sum("keylane_events_done_total", &[("handler", "parking")])
                == (EVENTS - behind_the_trap()) as f64
                && metrics.sum("keylane_slots_used", &[]) == 0.0
        })
    }

    fn until(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Result<()> {
        let waited = waiting::until(what, LIMIT, || Ok(holds(&self.host.metrics()?).then_some(())));
        waited.with_context(|| self.host.process.last_words())
    }
}

/// The trap, and what waits behind it when its lane is parked.
fn behind_the_trap() -> usize {
    (TRAP..EVENTS).step_by(KEYS).count()
}

#[test]
fn the_names_are_those_that_are_listed() -> Result<()> {
    let scene = scene()?;
    scene.until_at_rest()?;
    let group = [("group", "metrics.fast")];
    scene.until("all of fast is here", |metrics| {
        metrics.sum("keylane_kafka_partitions", &group) == f64::from(2 * FAST_PARTITIONS)
    })?;
    // A second host takes half of the partitions.
    let other = deployment(&scene.bootstrap)?;
    let other = Host::of(&other, host::start(&other, "host.log")?);
    scene.until("half of fast is gone", |metrics| {
        metrics.sum("keylane_kafka_partitions", &group) == f64::from(FAST_PARTITIONS)
            && metrics.sum("keylane_kafka_partitions_moved_total", &[group[0], ("how", "revoked")])
                == f64::from(FAST_PARTITIONS)
    })?;
    waiting::until("half of fast is there", LIMIT, || {
        let metrics = other.metrics().unwrap_or_default();
        Ok((metrics.sum("keylane_kafka_partitions", &group) == f64::from(FAST_PARTITIONS)).then_some(()))
    })?;
    // Somebody asks for the status, and somebody may not.
    scene.host.partitions()?;
    host::tell(&scene.deployment, "GET", "/status", None, "")?;
    let metrics = scene.host.metrics()?;
    let mut names = metrics.names();
    names.retain(|name, _| NOT_MET.iter().all(|(not_met, _)| not_met != name));
    let told = names.values().map(|line| format!("{line}\n")).collect::<String>();
    compare(&place::repository().join("tests/golden/metrics"), &told)?;

    let in_source = names_in_source(&place::repository().join("host"))?;
    let listed: BTreeSet<&str> = names.keys().copied().chain(NOT_MET.iter().map(|(name, _)| *name)).collect();
    let sources: BTreeSet<&str> = in_source.iter().map(String::as_str).collect();
    let missing: Vec<_> = sources.difference(&listed).collect();
    ensure!(missing.is_empty(), "not told here: let it happen, or say in NOT_MET why not: {missing:?}");
    let unknown: Vec<_> = listed.difference(&sources).collect();
    ensure!(unknown.is_empty(), "the sources do not have them: {unknown:?}");
    Ok(())
}

fn compare(file: &Path, told: &str) -> Result<()> {
    if std::env::var_os("KEYLANE_BLESS").is_some_and(|value| value == "1") {
        return Ok(std::fs::write(file, told)?);
    }
    let listed = std::fs::read_to_string(file).unwrap_or_default();
    let (listed, told): (BTreeSet<_>, BTreeSet<_>) = (listed.lines().collect(), told.lines().collect());
    ensure!(
        listed == told,
        "{} lists {:?}, which are not told, and not {:?}, which are; KEYLANE_BLESS=1 writes it anew",
        file.display(),
        listed.difference(&told).collect::<Vec<_>>(),
        told.difference(&listed).collect::<Vec<_>>()
    );
    Ok(())
}

/// The names of metrics that stand as texts in the sources of the host's rooms. The development broker's are
/// not a host's.
fn names_in_source(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("devbroker") && !path.ends_with("tests") {
            names.append(&mut names_in_source(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let is_name = |text: &&str| {
                text.starts_with("keylane_")
                    && text.chars().all(|c| c == '_' || c.is_ascii_lowercase())
                    && !NO_METRICS.contains(text)
            };
            names.extend(text.split('"').filter(is_name).map(str::to_owned));
        }
    }
    Ok(names)
}

#[test]
fn the_values_follow_from_the_traffic() -> Result<()> {
    let scene = scene()?;
    scene.until_at_rest()?;
    let waiting = behind_the_trap();
    scene.until("the lag is known", |metrics| {
        let lag = |handler| metrics.sum("keylane_lag_records", &[("handler", handler)]);
        lag("parking") == (EVENTS - TRAP) as f64 && lag("recorder") == 0.0 && lag("burying") == 0.0
    })?;
    let metrics = scene.host.metrics()?;
    let fast = FAST_EVENTS * usize::try_from(FAST_PARTITIONS)?;
    for (name, labels, value) in [
        ("keylane_events_done_total", [("handler", "recorder")], EVENTS),
        ("keylane_attempts_failed_total", [("handler", "recorder")], 1),
        ("keylane_events_dead_lettered_total", [("handler", "recorder")], 0),
        ("keylane_watermark_offset", [("handler", "recorder")], EVENTS),
        ("keylane_lag_records", [("handler", "recorder")], 0),
        ("keylane_slots", [("handler", "recorder")], 1),
        ("keylane_events_done_total", [("handler", "burying")], EVENTS - 1),
        ("keylane_events_dead_lettered_total", [("handler", "burying")], 1),
        ("keylane_attempts_failed_total", [("handler", "burying")], 1),
        ("keylane_lag_records", [("handler", "burying")], 0),
        ("keylane_events_done_total", [("handler", "parking")], EVENTS - waiting),
        ("keylane_attempts_failed_total", [("handler", "parking")], 1),
        ("keylane_parked_lanes", [("handler", "parking")], 1),
        ("keylane_watermark_offset", [("handler", "parking")], TRAP),
        ("keylane_gap_records", [("handler", "parking")], EVENTS - TRAP),
        ("keylane_buffered_records", [("handler", "parking")], waiting),
        ("keylane_events_done_total", [("handler", "fast")], fast),
        ("keylane_records_published_total", [("handler", "fast")], fast),
        ("keylane_kafka_records_total", [("group", "metrics.fast")], fast),
        ("keylane_kafka_partitions", [("group", "metrics.fast")], 4),
        ("keylane_kafka_leases_expired_total", [("group", "metrics.fast")], 0),
    ] {
        let told = metrics.sum(name, &labels);
        ensure!(told == value as f64, "{name} {labels:?} is {told}, not {value}");
    }
    let committed = metrics.sum("keylane_kafka_commits_total", &[("group", "metrics.recorder")]);
    ensure!(committed >= 1.0, "{committed} commits");
    let held = metrics.sum("keylane_host_buffered_bytes", &[]);
    let inboxes = metrics.sum("keylane_buffered_bytes", &[]);
    ensure!(held > 0.0 && held == inboxes, "the host holds {held} bytes, its inboxes {inboxes}");
    ensure!(metrics.sum("keylane_host_buffered_bytes_max", &[]) >= held, "more than the host may hold");
    Ok(())
}
