//! The server is killed.

use keylane_effects::{FinishError, Value};

use crate::ground::{Ground, begin, execute, finish, read, run, take};
use crate::support_postgres::PostgreSql;

/// What was committed is there, what was not is not, the host hears that it may try again, and it goes on
/// with the connections that it has as soon as the server is back.
pub async fn a_killed_server_loses_nothing(ground: &Ground, server: &PostgreSql) {
    let database = ground.database("CREATE TABLE t (a int)").await;
    let fence = take(database.as_ref()).await;
    let committed = begin(database.as_ref(), &fence).await;
    let (_, committed) =
        execute(database.as_ref(), committed, "insert into t values (1)", &[]).await.unwrap();
    finish(committed, &[1]).await.unwrap();
    let (one, two) = (begin(database.as_ref(), &fence).await, begin(database.as_ref(), &fence).await);
    let (_, one) = execute(database.as_ref(), one, "insert into t values (2)", &[]).await.unwrap();
    server.kill().unwrap();
    let failed = execute(database.as_ref(), two, "insert into t values (3)", &[]).await.err().unwrap();
    assert!(failed.transaction.is_none(), "{failed:?}");
    let lost = finish(one, &[2]).await;
    assert!(matches!(lost, Err(FinishError::Database(ref error)) if error.can_retry()), "{lost:?}");
    server.up().unwrap();
    assert_eq!(read(database.as_ref(), "select a from t").await.rows, [[Value::Integer(1)]]);
    assert_eq!(database.ended(&fence, &[1, 2, 3]).await.unwrap(), [1]);
    let again = run(database.as_ref()).await;
    finish(again, &[2]).await.unwrap();
}
