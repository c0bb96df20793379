//! `keylane replay` beside a host that runs on: a partition that had stopped goes on where the operator says, and events
//! that had ended are handled again, once each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::Broker;
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::fleet::{LIMIT, TOKEN};
use keylane_e2e::host;
use keylane_e2e::member::Host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::sqlite::{Database, column};
use keylane_e2e::story::TASKS;
use keylane_e2e::topics::{Topics, numbered};
use keylane_test_support::waiting;

const RECORDER: [Part; 1] = [Part { folder: "tests/guests/recorder" }];
const KEYS: usize = 3;

/// Offsets 20 to 29 are deleted while no host runs, so that the partition stops.
#[test]
fn a_running_host_goes_on_where_the_operator_says() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let topics = Topics::new(&broker.bootstrap)?;
    PlainClient::new(&broker.bootstrap).create_topics(&[TASKS, "account-entries"], 1)?;
    let settings = Settings { token: Some(TOKEN.to_owned()), ..Settings::default() };
    let deployment = Deployment::with(&broker.bootstrap, "replays", &RECORDER, &settings)?;

    topics.write(TASKS, 0, &numbered("a", 0..20, KEYS))?;
    let first = Host::of(&deployment, host::start(&deployment, "host-1.log")?);
    let done = Onlooker::new(&broker.bootstrap).until_all_is_done(&deployment.subscriptions(), LIMIT);
    done.with_context(|| first.process.last_words())?;
    first.stop()?;
    topics.write(TASKS, 0, &numbered("a", 20..40, KEYS))?;
    topics.delete_records(TASKS, 0, 30)?;

    let host = Host::of(&deployment, host::start(&deployment, "host-2.log")?);
    waiting::until("the partition stops", LIMIT, || {
        let partitions = host.partitions().unwrap_or_default();
        let says = |fault: &String| fault.contains("begins at 30") && fault.contains("`keylane replay`");
        Ok(partitions.iter().any(|one| one.fault.as_ref().is_some_and(says)).then_some(()))
    })
    .with_context(|| host.process.last_words())?;
    ensure!(seen(&deployment)? == times(&[(0..20, 1)]), "{:?}", seen(&deployment)?);

    let said = replay(&deployment, &["--from", "30", "--skip", "--as", "1"])?;
    ensure!(said.contains("as replay 1") && said.contains("passed over: 10"), "{said}");
    until_seen(&deployment, &host, &times(&[(0..20, 1), (30..40, 1)]))?;
    let said = replay(&deployment, &["--from", "35", "--as", "2"])?;
    ensure!(said.contains("as replay 2") && said.contains("handled again: 5"), "{said}");
    until_seen(&deployment, &host, &times(&[(0..20, 1), (30..35, 1), (35..40, 2)]))?;

    // It goes on as ever.
    topics.write(TASKS, 0, &numbered("a", 40..50, KEYS))?;
    let all = times(&[(0..20, 1), (30..35, 1), (35..40, 2), (40..50, 1)]);
    until_seen(&deployment, &host, &all)?;
    host.stop()?;
    // What it handled once more behind the last look is there by now.
    ensure!(seen(&deployment)? == all, "{:?}", seen(&deployment)?);
    Ok(())
}

fn replay(deployment: &Deployment, arguments: &[&str]) -> Result<String> {
    let line = ["replay", "recorder", "--config", "keylane.toml", "--topic", TASKS, "--partition", "0"];
    let (code, out, err) = host::command(deployment, &[&line, arguments].concat())?;
    ensure!(code == Some(0), "{arguments:?}: {code:?}: {err}");
    Ok(out)
}

/// How often each offset was handled.
type Times = BTreeMap<i64, usize>;

fn times(ranges: &[(std::ops::Range<i64>, usize)]) -> Times {
    ranges.iter().flat_map(|(range, times)| range.clone().map(|offset| (offset, *times))).collect()
}

fn seen(deployment: &Deployment) -> Result<Times> {
    let mut database = Database::open(&deployment.database("recorder"))?;
    let mut seen = Times::new();
    for row in &database.rows("SELECT record_offset FROM seen")? {
        *seen.entry(column(row, "record_offset")?).or_default() += 1;
    }
    Ok(seen)
}

/// An owner to whom nothing comes asks every half minute whether it still is one.
fn until_seen(deployment: &Deployment, host: &Host, wanted: &Times) -> Result<()> {
    let mut last = Times::new();
    let waited = waiting::until("what is to be handled is", LIMIT, || {
        last = seen(deployment)?;
        Ok((last.values().sum::<usize>() >= wanted.values().sum()).then_some(()))
    });
    waited.with_context(|| format!("{last:?}; {}", host.process.last_words()))?;
    ensure!(last == *wanted, "{last:?}, not {wanted:?}");
    Ok(())
}
