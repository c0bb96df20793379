//! Guests that answer: what they say and do becomes the outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_effects::Value;
use keylane_engine::{FailureClass, Header, Outcome, RunControl, Runner as _};

use crate::fake_publisher::Acks;
use crate::stage::{Stage, attempt, failure, folder};

#[tokio::test]
async fn noop() {
    let loaded = Stage::of("noop").load().await;
    assert_eq!(loaded.each(&["a", "b", "c"]).await, vec![Outcome::Done; 3]);
    assert_eq!(loaded.runner.run(Vec::new(), RunControl::unlimited()).await.outcomes, Vec::new());
}

#[tokio::test]
async fn flaky() {
    let loaded = Stage::of("flaky").load().await;
    let outcome = loaded.one("retry 2").await;
    let reason = "attempt 1 of 2".to_owned();
    assert_eq!(outcome, Outcome::Failed { class: FailureClass::Retry, reason, after_ms: Some(7) });

    let mut second = attempt(0, 0, "retry 2");
    second.number = 2;
    assert_eq!(loaded.runner.run(vec![second], RunControl::unlimited()).await.outcomes, vec![Outcome::Done]);

    let rejected = loaded.one("reject").await;
    assert_eq!(failure(&rejected), (FailureClass::Reject, "no later attempt can help"));
    assert_eq!(loaded.revision.instances().failed, 2, "a failed verdict ends the instance as a trap does");
}

#[tokio::test]
async fn echo() {
    let loaded = Stage::of("echo").with_producer(Acks::AtOnce).load().await;
    let outcomes = loaded.each(&["once", "then trap", "twice"]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    assert_eq!(failure(&outcomes[1]).0, FailureClass::Trap);
    assert_eq!(outcomes[2], Outcome::Done);
    let values: Vec<_> = loaded.publisher.records().into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, ["once", "twice", "twice"], "what a failed event produced never leaves");
}

#[tokio::test]
async fn witness() {
    let mut stage = Stage::of("witness").with_producer(Acks::AtOnce);
    stage.manifest.grants.producer.as_mut().unwrap().topics = vec!["chaos-seen".into()];
    let loaded = stage.load().await;
    let outcomes = loaded.each(&["v1 done 0\nmore", "v2 retry 1", "v3 reject 0", "v4 trap 1"]).await;
    assert_eq!(outcomes[0], Outcome::Done);
    let classes = outcomes[1..].iter().map(|outcome| failure(outcome).0);
    let expected = [FailureClass::Retry, FailureClass::Reject, FailureClass::Trap];
    assert_eq!(classes.collect::<Vec<_>>(), expected);
    let told = loaded.publisher.records();
    assert_eq!(told.len(), 1, "a failed event tells nothing");
    let words = String::from_utf8(told[0].value.clone().unwrap().to_vec()).unwrap();
    assert!(words.starts_with("00000000 3 0 1 "), "{words}");
}

#[tokio::test]
async fn an_oversize_record_is_refused_when_the_guest_sends_it() {
    let loaded = Stage::of("echo").with_producer(Acks::AtOnce).load().await;
    let outcome = loaded.one(&"x".repeat(1_000_001)).await;
    let (class, reason) = failure(&outcome);
    assert_eq!(class, FailureClass::Reject);
    assert!(reason.contains("Limit") && reason.contains("1000000 are allowed"), "{reason}");
    assert_eq!(loaded.publisher.records(), [], "nothing of the event left");
}

#[tokio::test]
async fn recorder() {
    let loaded =
        Stage::of("recorder").with_database(Some(folder("recorder").join("migrations"))).load().await;
    let mut left: Vec<_> = (0..97).map(|offset| attempt(offset, offset, "seen")).collect();
    let mut failures = Vec::new();
    while !left.is_empty() {
        let outcomes = loaded.run(left.clone()).await;
        let mut again = Vec::new();
        for (mut attempt, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done => continue,
                Outcome::NotStarted => {}
                failed => {
                    attempt.number += 1;
                    failures.push((attempt.event.offset, failure(&failed).0));
                }
            }
            again.push(attempt);
        }
        left = again;
    }
    assert_eq!(failures, [(13, FailureClass::Retry)], "one event in 97 asks for a second attempt");
    let seen = "SELECT count(*), sum(attempt) FROM seen";
    let rows = loaded.read(seen).await;
    assert_eq!(rows, [[97, 98].map(Value::Integer)], "the failed attempt's row was rolled back");
}

#[tokio::test]
async fn ledger_witness() {
    let migrations = tempfile::tempdir().unwrap();
    let tables = "CREATE TABLE ledger (value_id, source_partition, source_offset, record_key, entry, after_offset, told);
        CREATE TABLE account (source_partition, record_key, entries, last_offset);
        CREATE TABLE total (one PRIMARY KEY, entries);
        INSERT INTO total VALUES (1, 0);";
    std::fs::write(migrations.path().join("1_tables.sql"), tables).unwrap();
    let stage = Stage::of("ledger-witness").with_database_named("ledger", Some(migrations.path().to_owned()));
    let mut stage = stage.with_mail().with_producer(Acks::AtOnce);
    stage.manifest.grants.producer.as_mut().unwrap().topics = vec!["chaos-seen".into()];
    let loaded = stage.load().await;
    let values =
        ["10 done 0\nmore", "16 done 0", "3 retry 1", "4 reject 0", "5 trap 1", "6 swallow 1", "7 swallow 1"];
    // The first two are of one key, and their rows are a chain.
    let attempts =
        (0_u64..).zip(values).map(|(at, value)| attempt(at, at.saturating_sub(1), value)).collect();
    let outcomes = loaded.run(attempts).await;
    assert_eq!(outcomes[..2], [Outcome::Done, Outcome::Done]);
    let classes = outcomes[2..].iter().map(|outcome| failure(outcome).0);
    let [retry, reject, trap] = [FailureClass::Retry, FailureClass::Reject, FailureClass::Trap];
    assert_eq!(classes.collect::<Vec<_>>(), [retry, reject, trap, retry, retry], "nothing is swallowed");
    let chain =
        loaded.read("SELECT value_id, source_offset, entry, after_offset FROM ledger ORDER BY 1").await;
    assert_eq!(chain, [[10, 0, 1, -1], [16, 1, 2, 0]].map(|row| row.map(Value::Integer)));
    let shared = loaded.read("SELECT entries FROM total").await;
    assert_eq!(shared, [[Value::Integer(1)]], "the sixteenth changes the row that all share");
    let outbox = loaded.database.clone().unwrap().outbox().counts().await.unwrap();
    assert_eq!((outbox.records, outbox.mails), (2, 1), "a record for each, a mail for the tenth");
}

/// The tables are those of `tests/bench`, with one account.
#[tokio::test]
async fn bookkeeper() {
    let migrations = tempfile::tempdir().unwrap();
    let tables = "CREATE TABLE account (account PRIMARY KEY, balance, entries);
        CREATE TABLE entry (source_partition, source_offset, side, account, amount);
        INSERT INTO account VALUES (7, 100, 1);";
    std::fs::write(migrations.path().join("1_tables.sql"), tables).unwrap();
    let stage = Stage::of("bookkeeper").with_database_named("ledger", Some(migrations.path().to_owned()));
    let mut stage = stage.with_producer(Acks::AtOnce);
    stage.manifest.grants.producer.as_mut().unwrap().topics = vec!["bench-balances".into()];
    let loaded = stage.load().await;
    let values = [r#"{"number":0,"account":7,"amount":5}"#, r#"{"number":1,"account":8,"amount":5}"#];
    let made = (0..).zip(values).map(|(offset, value)| {
        let mut attempt = attempt(offset, offset, value);
        let header = Header { name: "ce_type".to_owned(), value: Some("entry.made".to_owned().into()) };
        Arc::get_mut(&mut attempt.event).unwrap().headers.push(header);
        attempt
    });
    let outcomes = loaded.run(made.collect()).await;
    assert_eq!(outcomes[0], Outcome::Done);
    assert_eq!(failure(&outcomes[1]), (FailureClass::Reject, "there is no such account"));
    let books =
        "SELECT balance, entries, (SELECT group_concat(account || ' ' || amount) FROM entry) FROM account";
    let row = [Value::Integer(105), Value::Integer(2), Value::Text("7 5,-1 -5".to_owned())];
    assert_eq!(loaded.read(books).await, [row]);
    let outbox = loaded.database.clone().unwrap().outbox().counts().await.unwrap();
    assert_eq!((outbox.records, outbox.mails), (1, 0));
}

/// What its lines do is told by the tests of runs; here, that it reads them.
#[tokio::test]
async fn script() {
    let loaded = Stage::of("script").with_database(None).with_producer(Acks::AtOnce).load().await;
    assert_eq!(loaded.one("send a\nif served\ntrap").await, Outcome::Done);
    assert_eq!(failure(&loaded.one("dance").await), (FailureClass::Reject, "no verb \"dance\""));
}

#[tokio::test]
async fn slow_host_call() {
    const TIME: Duration = Duration::from_millis(200);
    let loaded = Stage::of("slow-host-call").time(TIME).with_database(None).load().await;
    let mut rows = 250_000_u64;
    loop {
        let since = Instant::now();
        assert_eq!(
            loaded.one(&rows.to_string()).await,
            Outcome::Done,
            "the database's time is not the guest's"
        );
        if since.elapsed() > TIME * 2 {
            break;
        }
        rows *= 2;
    }
}

#[tokio::test]
async fn host_calls_without_end_are_ended() {
    let mut stage = Stage::of("slow-host-call").time(Duration::from_millis(200)).with_database(None);
    stage.manifest.limits.host_call = Duration::from_millis(250);
    let loaded = stage.load().await;
    // On a crowded machine a single statement may pass its own limit, and the guest gives up: then it is
    // asked again. All together pass 20 of them.
    let mut outcome = loaded.one("forever").await;
    for _ in 0..5 {
        if failure(&outcome).0 != FailureClass::Reject {
            break;
        }
        outcome = loaded.one("forever").await;
    }
    assert_eq!(failure(&outcome), (FailureClass::Timeout, "its host calls together took longer than 5s"));
    assert_eq!(loaded.one("1").await, Outcome::Done);
}

#[tokio::test]
async fn a_run_given_up_midway_frees_the_database() {
    let loaded = Stage::of("slow-host-call").with_database(None).load().await;
    let control = RunControl::unlimited().under(loaded.fence);
    let endless = loaded.runner.run(vec![attempt(7, 7, "1000000000000")], control);
    assert!(tokio::time::timeout(Duration::from_millis(100), endless).await.is_err(), "it is still counting");
    assert_eq!(loaded.revision.instances().abandoned, 1);
    assert_eq!(loaded.one("1").await, Outcome::Done, "the transaction is rolled back and the writer is free");
    assert_eq!(loaded.claimed().await, [0]);
}

/// The handler that the README shows, on the table that it shows.
#[tokio::test]
async fn readme() {
    let migrations = tempfile::tempdir().unwrap();
    let shown = include_str!("../../../../README.md");
    let table = shown.split('`').find(|text| text.starts_with("CREATE TABLE assignments")).unwrap();
    std::fs::write(migrations.path().join("0001_board.sql"), table).unwrap();
    let stage = Stage::of("readme").with_database_named("board", Some(migrations.path().to_owned()));
    let loaded = stage.load().await;
    let assigned = |offset: u64, event_type: &str| {
        let body = format!(r#"{{"task":"t-{offset}","worker":"ann"}}"#);
        let mut attempt = attempt(offset, offset, &body);
        let header = Header { name: "ce_type".to_owned(), value: Some(event_type.to_owned().into()) };
        Arc::get_mut(&mut attempt.event).unwrap().headers.push(header);
        attempt
    };
    let run = vec![assigned(0, "task.assigned"), assigned(1, "task.assigned"), assigned(2, "task.lost")];
    let outcomes = loaded.run(run).await;
    assert_eq!(outcomes[..2], [Outcome::Done, Outcome::Done]);
    assert_eq!(failure(&outcomes[2]).0, FailureClass::Reject);
    let rows = loaded.read("SELECT task, worker FROM assignments ORDER BY task").await;
    let row = |task: &str| [task, "ann"].map(|text| Value::Text(text.to_owned()));
    assert_eq!(rows, [row("t-0"), row("t-1")]);
}
