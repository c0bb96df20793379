//! A database that is only read, and is not to be had: whatever the handler makes of that, nobody is charged.

use std::time::Duration;

use keylane_engine::{FailureClass, Outcome};

use crate::fake_publisher::Acks;
use crate::faulty::{At, Fault};
use crate::stage::{Loaded, Stage, failure};

/// A handler that reads, and may write to a database of its own as well.
async fn loaded(writes: bool, host_call: Duration) -> Loaded {
    let migrations = tempfile::tempdir().unwrap();
    std::fs::write(migrations.path().join("1_table.sql"), "CREATE TABLE t (a INTEGER);").unwrap();
    let mut stage = Stage::of("script").with_reports().with_producer(Acks::AtOnce);
    if writes {
        stage = stage.with_database(Some(migrations.path().to_owned()));
    }
    stage.manifest.limits.host_call = host_call;
    stage.manifest.limits.time = Duration::from_secs(1);
    stage.load().await
}

/// The event among others, as often in the way as its run tries it. What its failure says.
async fn failed(loaded: &Loaded, writes: bool, fault: Fault, value: &str) -> (FailureClass, String) {
    // In a transaction the run is done once more, with savepoints.
    loaded.faults.add(At::Elsewhere, fault, if writes { 2 } else { 1 });
    let outcomes = loaded.each(&["", value, ""]).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Done, &Outcome::Done), "{value}");
    assert_eq!(loaded.faults.left(), 0, "{value}");
    let (class, reason) = failure(&outcomes[1]);
    (class, reason.to_owned())
}

#[tokio::test]
async fn a_database_that_is_away_charges_nobody_whatever_the_handler_answers() {
    for writes in [false, true] {
        let loaded = loaded(writes, Duration::from_secs(60)).await;
        for value in [
            "look SELECT 1",
            "peek SELECT 1\nsend bad",
            "peek SELECT 1\npeek SELECT 1\nretry later",
            "peek SELECT 1\nreject never",
            "peek SELECT 1\ntrap",
        ] {
            let (class, reason) = failed(&loaded, writes, Fault::Lost, value).await;
            assert_eq!(class, FailureClass::Effects, "{value}: {reason}");
            assert!(reason.contains("\"reports\"") && reason.contains("gone by the test"), "{reason}");
            assert_eq!(loaded.one("look SELECT 1").await, Outcome::Done, "it is back");
        }
        assert_eq!(loaded.publisher.records().len(), 0);
        assert_eq!(failure(&loaded.one("look SELECT * FROM nowhere").await).0, FailureClass::Retry);
        assert_eq!(failure(&loaded.one("reject never").await).0, FailureClass::Reject);
    }
}

/// The run's own session is idle meanwhile, so there is an end to it; and it is not the handler's own time.
#[tokio::test]
async fn a_database_that_does_not_answer_is_given_up_and_charges_nobody() {
    for writes in [false, true] {
        // So short that all host calls together have less than one query that is late.
        let loaded = loaded(writes, Duration::from_millis(10)).await;
        let (class, reason) = failed(&loaded, writes, Fault::Hang, "look SELECT 1").await;
        assert_eq!(class, FailureClass::Effects, "{reason}");
        assert!(reason.contains("took no query within"), "{reason}");
    }
}

/// That a query takes too long is its own fault.
#[tokio::test]
async fn a_late_query_is_charged() {
    let endless = "look WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n";
    for writes in [false, true] {
        let loaded = loaded(writes, Duration::from_secs(1)).await;
        let outcome = loaded.one(endless).await;
        let (class, reason) = failure(&outcome);
        assert!(class == FailureClass::Retry && reason.contains("took longer than 1s"), "{reason}");
    }
}
