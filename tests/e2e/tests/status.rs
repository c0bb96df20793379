//! Seeing it: the admin port and the operator's commands, on a host with an event that no handler can handle.
//! One handler pauses its lane, one halts the partition, and one waits for the next attempt.
#![allow(clippy::indexing_slicing, reason = "a JSON value answers null for what it does not have")]

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use keylane_e2e::broker::{Broker, Record};
use keylane_e2e::deployment::{Deployment, Part, Settings, free_port};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::host;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::story::TASKS;
use keylane_test_support::waiting;
use serde_json::Value;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const HANDLERS: [Part; 3] = [
    Part { folder: "tests/e2e/pausing" },
    Part { folder: "tests/e2e/halting" },
    Part { folder: "tests/e2e/parking" },
];

/// A host on a development broker, with three events in one partition: the first traps, the third has its key.
struct Scene {
    deployment: Deployment,
    host: host::Process,
    _broker: DevBroker,
    _folder: tempfile::TempDir,
}

fn scene() -> Result<Scene> {
    let folder = tempfile::tempdir()?;
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    client.create_topics(&[TASKS], 1)?;
    let record = |key: &str, value: &str| Record {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
        headers: Vec::new(),
    };
    let mut writer = client.writer(TASKS)?;
    writer.write(&[record("ann", "trap"), record("bob", "fine"), record("ann", "fine")])?;
    writer.finish()?;
    let settings = Settings { token: Some(TOKEN.to_owned()), ..Settings::default() };
    let deployment = Deployment::with(&broker.bootstrap, "status", &HANDLERS, &settings)?;
    let host = host::start(&deployment, "host.log")?;
    Ok(Scene { deployment, host, _broker: broker, _folder: folder })
}

impl Scene {
    /// The source's partition of a handler, as `/status` has it now.
    fn partition(&self, handler: &str) -> Result<Value> {
        let (code, body) = host::tell(&self.deployment, "GET", "/status", Some(TOKEN), "")?;
        ensure!(code == 200, "/status answers {code}: {body}");
        let status: Value = serde_json::from_str(&body)?;
        let handlers = status["handlers"].as_array().context("no handlers")?;
        let found = handlers.iter().find(|found| found["name"] == handler);
        let partitions = found.and_then(|found| found["partitions"].as_array()).cloned().unwrap_or_default();
        let source = partitions.into_iter().find(|partition| partition["topic"] == TASKS);
        Ok(source.unwrap_or_default())
    }

    /// Waits until a handler's partition is as it should be.
    fn until(&self, handler: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = Value::Null;
        let found = waiting::until(&format!("{handler}: {what}"), LIMIT, || {
            // The port opens a moment after the process has begun.
            last = self.partition(handler).unwrap_or_default();
            Ok(holds(&last).then(|| last.clone()))
        });
        found.with_context(|| format!("it was {last:#}; {}", self.host.last_words()))
    }

    /// Waits until the first event of a handler is in this state, and answers what is told of it.
    fn until_first_is(&self, handler: &str, state: &str) -> Result<Value> {
        let told =
            self.until(handler, state, |partition| partition["owner"]["waiting"][0]["state"] == state)?;
        Ok(told["owner"]["waiting"][0].clone())
    }

    fn until_all_is_done(&self, handler: &str) -> Result<()> {
        self.until(handler, "all is done", |partition| {
            partition["owner"]["watermark"] == 3 && partition["lag"] == 0
        })
        .map(drop)
    }

    fn tell(&self, path: &str, body: &str) -> Result<(u16, String)> {
        host::tell(&self.deployment, "POST", path, Some(TOKEN), body)
    }

    /// Runs a command on this host's file that should end well, and answers what it printed.
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let (code, out, err) = host::command(&self.deployment, arguments)?;
        ensure!(code == Some(0), "{arguments:?} ended with {code:?}: {err}");
        Ok(out)
    }

    /// Runs a command that should be refused, and answers what it said.
    fn refused(&self, arguments: &[&str]) -> Result<String> {
        let (code, out, err) = host::command(&self.deployment, arguments)?;
        ensure!(code == Some(2) && out.is_empty(), "{arguments:?} ended with {code:?}: {out}{err}");
        Ok(err)
    }
}

const STATUS: [&str; 3] = ["status", "--config", "keylane.toml"];

fn lanes<'a>(wish: &'a str, handler: &'a str, partition: &'a str, offset: &'a str) -> [&'a str; 8] {
    ["lanes", wish, "--config", "keylane.toml", handler, TASKS, partition, offset]
}

#[test]
fn what_waits_is_shown_and_an_operator_decides() -> Result<()> {
    let scene = scene()?;
    let paused = scene.until_first_is("pausing", "paused")?;
    ensure!(paused["offset"] == 0 && paused["attempts"] == 1 && paused["queued"] == 2, "{paused:#}");
    ensure!(
        paused["class"] == "trap" && paused["key"].as_str().is_some_and(|key| key.contains("ann")),
        "{paused:#}"
    );
    let parked = scene.until_first_is("parking", "parked")?;
    ensure!(parked["next_try_in_ms"].as_u64().is_some_and(|ms| ms > 60_000), "{parked:#}");
    let halted = scene.until("halting", "halted", |partition| partition["owner"]["halted"].is_string())?;
    ensure!(halted["owner"]["phase"] == "halted", "{halted:#}");

    let table = scene.run(&STATUS)?;
    for word in
        ["fleet status", "pausing", "paused", "parked", "halted", "ann", "trap", &format!("{TASKS}[0]")]
    {
        ensure!(table.contains(word), "{word:?} is missing in\n{table}");
    }
    let json: Value = serde_json::from_str(&scene.run(&[&STATUS[..], &["--json"]].concat())?)?;
    ensure!(json["handlers"].as_array().map(Vec::len) == Some(3), "{json:#}");
    ensure!(!json.to_string().contains("fine"), "a value is shown: {json:#}");

    // Another attempt fails as the first did, and is the first of a new count.
    let before = failed(&scene.deployment, "pausing")?;
    scene.run(&lanes("resume", "pausing", "0", "0"))?;
    waiting::until("it is tried again", LIMIT, || {
        Ok((failed(&scene.deployment, "pausing")? > before).then_some(()))
    })?;
    let again = scene.until_first_is("pausing", "paused")?;
    ensure!(again["attempts"] == 1, "{again:#}");

    for handler in ["pausing", "parking", "halting"] {
        let said = scene.run(&lanes("skip", handler, "0", "0"))?;
        ensure!(said.contains("offset 0 is skipped"), "it said {said:?}");
        scene.until_all_is_done(handler)?;
    }
    Ok(())
}

/// How many attempts of a handler have failed, in its source's partition.
fn failed(deployment: &Deployment, handler: &str) -> Result<u64> {
    let (_, metrics) = host::ask(deployment, "/metrics")?;
    let labels = [format!("handler=\"{handler}\""), format!("topic=\"{TASKS}\"")];
    let is_ours = |line: &&str| {
        line.starts_with("keylane_attempts_failed_total{") && labels.iter().all(|label| line.contains(label))
    };
    let line = metrics.lines().find(is_ours).with_context(|| format!("no such metric:\n{metrics}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

#[test]
fn a_halted_partition_makes_the_host_unready_and_is_named() -> Result<()> {
    let scene = scene()?;
    let unready = waiting::until("/readyz names the halted partition", LIMIT, || {
        let answer = host::ask(&scene.deployment, "/readyz").ok();
        Ok(answer.filter(|(code, body)| *code == 503 && body.contains("halted")).map(|(_, body)| body))
    })?;
    let line = unready.lines().find(|line| line.starts_with("halting: ")).unwrap_or_default();
    ensure!(line.contains(&format!("{TASKS}[0]")) && line.contains("halted"), "/readyz says {unready:?}");
    ensure!(host::ask(&scene.deployment, "/livez")?.0 == 200, "a halted partition ended liveness");
    scene.until("halting", "halted", |partition| partition["owner"]["halted"].is_string())?;
    scene.run(&lanes("skip", "halting", "0", "0"))?;
    waiting::until("/readyz answers 200", LIMIT, || {
        Ok(host::ask(&scene.deployment, "/readyz").ok().filter(|(code, _)| *code == 200).map(drop))
    })?;
    Ok(())
}

#[test]
fn only_the_token_opens_the_admin_port() -> Result<()> {
    let scene = scene()?;
    scene.until_first_is("pausing", "paused")?;
    let skip = format!("{{\"handler\":\"pausing\",\"topic\":\"{TASKS}\",\"partition\":0,\"offset\":0}}");
    for token in [None, Some("0123456789abcdef0123456789abcdeX"), Some("")] {
        for (method, path) in [("GET", "/status"), ("POST", "/lanes/skip"), ("POST", "/lanes/resume")] {
            let (code, body) = host::tell(&scene.deployment, method, path, token, &skip)?;
            ensure!(code == 401 && body.contains("token"), "{path} with {token:?} answers {code}: {body}");
        }
    }
    scene.until_first_is("pausing", "paused")?;
    ensure!(!scene.host.log()?.contains(TOKEN), "the token is in the log");

    scene.deployment.set_token("another-token-of-32-characters!!")?;
    let said = scene.refused(&STATUS)?;
    ensure!(said.contains("started with another token"), "it said {said:?}");
    Ok(())
}

#[test]
fn a_wish_that_cannot_be_granted_is_refused_in_words() -> Result<()> {
    let scene = scene()?;
    scene.until_first_is("pausing", "paused")?;
    let wish = |handler: &str, partition: i32, offset: i64| {
        format!(
            "{{\"handler\":{handler:?},\"topic\":\"{TASKS}\",\"partition\":{partition},\"offset\":{offset}}}"
        )
    };
    let without = format!("{{\"handler\":\"pausing\",\"topic\":\"{TASKS}\",\"partition\":0}}");
    let long = "x".repeat(100_000);
    for (body, code, word) in [
        (wish("nobody", 0, 0).as_str(), 404, "nobody"),
        (&wish("pausing", 7, 0), 404, "not on this host"),
        (&wish("pausing", 0, 1), 409, "offset 1"),
        (&wish("pausing", 0, 2), 409, "offset 2"),
        (&without, 400, "which event"),
        ("{\"handler\":1}", 400, "cannot be understood"),
        ("not JSON", 400, "cannot be understood"),
        ("", 400, "cannot be understood"),
        (&long, 413, ""),
    ] {
        let (found, said) = scene.tell("/lanes/skip", body)?;
        ensure!(found == code && said.contains(word), "{found} instead of {code}: {said}");
    }
    for (arguments, words) in [
        (lanes("skip", "nobody", "0", "0"), "no handler \"nobody\" in this host"),
        (lanes("skip", "pausing", "7", "0"), "another host of the fleet may have it"),
        (lanes("resume", "pausing", "0", "1"), "offset 1 is not the head of a parked or paused lane"),
    ] {
        let said = scene.refused(&arguments)?;
        ensure!(said.contains(words), "{arguments:?}: it said {said:?}");
    }
    scene.until_first_is("pausing", "paused").map(drop)
}

#[test]
fn a_host_without_a_token_answers_nobody_and_says_what_to_set() -> Result<()> {
    let unreachable = format!("127.0.0.1:{}", free_port()?);
    let deployment = Deployment::new(&unreachable, "status", &HANDLERS[..1])?;
    let _host = host::start(&deployment, "host.log")?;
    for (method, path) in [("GET", "/status"), ("POST", "/lanes/skip")] {
        let (code, body) = waiting::until("the admin port answers", LIMIT, || {
            Ok(host::tell(&deployment, method, path, Some(TOKEN), "").ok())
        })?;
        ensure!(code == 403 && body.contains("token-file"), "{path} answers {code}: {body}");
    }
    Ok(())
}

#[test]
fn a_host_that_waits_for_its_broker_has_a_status() -> Result<()> {
    let unreachable = format!("127.0.0.1:{}", free_port()?);
    let settings = Settings { token: Some(TOKEN.to_owned()), ..Settings::default() };
    let deployment = Deployment::with(&unreachable, "status", &HANDLERS[..1], &settings)?;
    let _host = host::start(&deployment, "host.log")?;
    let (code, out, err) = waiting::until("the admin port answers", LIMIT, || {
        let answer = host::command(&deployment, &STATUS)?;
        Ok((answer.0 == Some(0)).then_some(answer))
    })?;
    ensure!(out.contains("fleet status: starting"), "it ended with {code:?}: {out}{err}");
    Ok(())
}
