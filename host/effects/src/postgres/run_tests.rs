//! What a guest cannot say, said on a run's own session, on a real server.

use super::*;
use crate::config::DatabaseConfig;
use crate::database::{OutboxKind, StreamKey};

const LONG: Duration = Duration::from_secs(30);

fn output() -> OutboxRow {
    let (kind, topic) = (OutboxKind::Record, "out".to_owned());
    OutboxRow { event_offset: 1, ordinal: 0, kind, topic, key: None, value: None, headers: Vec::new() }
}

/// Only the transaction that began has asked whose the partition is, and holds the fence. Should it ever end behind
/// the host's back, whatever stands in its place must not commit claims and outputs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_transaction_than_the_one_that_began_commits_nothing() {
    let Some(ground) =
        keylane_test_support::postgres("the check of a run whose transaction has ended").unwrap()
    else {
        return;
    };
    let config = DatabaseConfig::new(ground.database().unwrap());
    let database = crate::open(&config).await.unwrap();
    let (fleet, handler, topic) = ("fleet".to_owned(), "handler".to_owned(), "topic".to_owned());
    let topic_id = keylane_engine::TopicId::new([7; 16]);
    let key = StreamKey { fleet, handler, topic, topic_id, partition: 0 };
    let fence = database.take(&key, LONG).await.unwrap().fence;
    let server = Arc::new(Server::new(&config).unwrap());
    for outbox in [vec![], vec![output()]] {
        for ends in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN; SET LOCAL ROLE keylane_guest"] {
            let session = Session::acquire(&server.runs).await.unwrap();
            let mut run = try_begin(session, &server, fence).await.unwrap().unwrap();
            run.session.say(ends.to_owned()).await.unwrap();
            let finished = Box::new(run).finish(&outbox, &[(1, EndedAs::Done)], LONG).await;
            assert!(matches!(finished, Err(FinishError::Void(_))), "{ends}: {finished:?}");
            assert_eq!(database.ended(&fence, &[1]).await.unwrap(), [0_i64; 0], "{ends}");
        }
    }
    let run = begin(&server, fence).await.unwrap();
    run.finish(&[output()], &[(1, EndedAs::Done)], LONG).await.unwrap();
    assert_eq!(database.ended(&fence, &[1]).await.unwrap(), [1]);
}
