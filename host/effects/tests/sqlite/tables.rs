//! The host's own tables: what stands in them, and those of another version.

use std::time::Duration;

use keylane_effects::{DatabaseError, KeyAsk, KeyRequest, StatementError, open};

use crate::suite::{self, commit_event, heard, kept, owner};
use crate::{config, ground, outside};

const TABLE: &str = "CREATE TABLE t (a BIGINT)";

/// The version is asked before any table is made: those of another one lack what this one's indexes stand on.
#[tokio::test]
async fn a_file_of_another_version_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(&config(&folder)).await.unwrap();
    commit_event(&*database, &owner(&*database, TABLE).await, 1).await;
    drop(database);
    let mut outside = outside(&folder).await;
    let changes = "UPDATE keylane_meta SET version = 7; DROP TABLE keylane_keyvalue; \
                   DROP TABLE keylane_outbox; CREATE TABLE keylane_outbox (id INTEGER PRIMARY KEY)";
    sqlx::raw_sql(changes).execute(&mut outside).await.unwrap();
    // It counts what other connections commit.
    let commits = || sqlx::query_scalar::<_, i64>("PRAGMA data_version");
    let before = commits().fetch_one(&mut outside).await.unwrap();
    let refused = open(&config(&folder)).await.err().unwrap();
    assert!(matches!(refused, DatabaseError::Tables { .. }) && !refused.can_retry(), "{refused:?}");
    for said in ["of version 7", "run the version of keylane that made them", "a fresh database"] {
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(commits().fetch_one(&mut outside).await.unwrap(), before, "something was changed");
    let back = "UPDATE keylane_meta SET version = 1; DROP TABLE keylane_outbox";
    sqlx::raw_sql(back).execute(&mut outside).await.unwrap();
    assert_eq!(kept(&*open(&config(&folder)).await.unwrap()).await, [1]);
}

#[tokio::test]
async fn an_ending_is_claimed_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let claims = async || {
        let claims = sqlx::query_as("SELECT event_offset, ended_as FROM keylane_claim ORDER BY 1");
        claims.fetch_all(&mut outside(&folder).await).await.unwrap()
    };
    suite::claims::an_ending_is_claimed_as_what_it_is(&ground, claims).await;
}

/// What asks for many keys is a statement for each of them here, and those of a call share its time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_call_for_keys_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let slowed = async || {
        let slow = "CREATE VIEW slow (i) AS WITH RECURSIVE n (i) AS \
                    (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n; \
                    CREATE TRIGGER slowed AFTER INSERT ON keylane_keyvalue BEGIN SELECT i FROM slow; END";
        sqlx::raw_sql(slow).execute(&mut outside(&folder).await).await.unwrap();
    };
    suite::keyvalue::a_late_call_is_stopped(&ground, slowed).await;
}

/// A statement for one key ends before SQLite looks at any time, so that the host looks before each.
#[tokio::test]
async fn a_key_that_is_asked_for_too_late_is_not_looked_up() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let fence = owner(&*ground.here, TABLE).await;
    let keys = vec![b"a".to_vec()];
    for ask in [
        KeyAsk::Get { keys: keys.clone(), for_change: true, bytes_max: 1_000 },
        KeyAsk::Put(vec![(b"a".to_vec(), b"1".to_vec())]),
        KeyAsk::Delete(keys),
        KeyAsk::List { after: None, keys_max: 1 },
    ] {
        let run = ground.here.begin(&fence).await.unwrap();
        let request = KeyRequest { bucket: "seen".to_owned(), ask };
        let failed = run.keyvalue(request, Duration::ZERO).await.err().unwrap();
        assert!(matches!(heard(&failed), StatementError::Late(_)), "{failed:?}");
    }
}
