//! Sessions seen from outside, on a real server.

use std::str::FromStr;

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::*;

async fn lives(connection: &mut PgConnection) -> bool {
    sqlx::query("SELECT pg_sleep(0.1)").execute(connection).await.is_ok()
}

/// Its number is all that the host has of a session that it gave up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_came_later_under_the_same_number_is_left_alone() {
    let Some(server) = keylane_test_support::postgres("the check of sessions that are ended").unwrap() else {
        return;
    };
    let options = PgConnectOptions::from_str(&server.database().unwrap()).unwrap();
    let watch = Watch::new(&options, "postgres://check".to_owned());
    let mut later = options.connect().await.unwrap();
    let began = "(EXTRACT(epoch FROM backend_start) * 1000000)::bigint";
    let text = format!("SELECT pid, {NOW}, {began} FROM pg_stat_get_activity(pg_backend_pid())");
    let asked = sqlx::query_as::<_, (i32, i64, i64)>(AssertSqlSafe(text)).fetch_one(&mut later);
    let (pid, now_us, began_us) = asked.await.unwrap();
    let former = Backend { pid, at_us: began_us - 1 };
    let (slept, ()) = tokio::join!(lives(&mut later), watch.cancel(former));
    assert!(slept, "somebody else's statement was cancelled");
    watch.end(former);
    watch.none_is_ending().await;
    assert!(lives(&mut later).await, "somebody else's session was ended");
    watch.end(Backend { pid, at_us: now_us });
    watch.none_is_ending().await;
    assert!(!lives(&mut later).await, "it is not ended by its own number");
    let _ = later.close().await;
}
