//! Which database lies at the address, while a host is up.

use keylane_effects::{BeginError, DatabaseConfig, DatabaseError, open};
use sqlx::AssertSqlSafe;

use crate::ground::{Ground, LONG, begin, finish, stream, take};

fn name(config: &DatabaseConfig) -> &str {
    config.write.rsplit_once('/').unwrap().1
}

/// Ends all sessions of both databases and gives each a new name.
async fn rename(ground: &Ground<'_>, names: [(&str, &str); 2]) {
    let admin = sqlx::PgPool::connect(&ground.server.url("postgres")).await.unwrap();
    for (from, to) in names {
        let text =
            format!("SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = '{from}'");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&admin).await.unwrap();
        let text = format!("ALTER DATABASE {from} RENAME TO {to}");
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&admin).await.unwrap();
    }
}

/// The progress there is another one's, and its offsets may mean other records.
pub async fn another_database_in_its_place_is_refused(ground: &Ground<'_>) {
    let (config, other) = (ground.config(), ground.config());
    let database = open(&config).await.unwrap();
    database.settle_start(&stream(), &[(0, 0)]).await.unwrap();
    let fence = take(database.as_ref()).await;
    finish(begin(database.as_ref(), &fence).await, &[1]).await.unwrap();
    let theirs = open(&other).await.unwrap();
    theirs.settle_start(&stream(), &[(0, 7)]).await.unwrap();
    finish(begin(theirs.as_ref(), &take(theirs.as_ref()).await).await, &[8]).await.unwrap();
    drop(theirs);
    let former = format!("{}_former", name(&config));
    rename(ground, [(name(&config), &former), (name(&other), name(&config))]).await;
    assert!(matches!(database.begin(&fence).await.err(), Some(BeginError::NotOwner)));
    for refused in [
        database.take(&stream(), LONG).await.err(),
        database.settle_start(&stream(), &[(1, 3)]).await.err(),
        database.ended(&fence, &[1, 8]).await.err(),
        database.bind_cluster("cluster").await.err(),
    ] {
        let error = refused.unwrap();
        assert!(matches!(error, DatabaseError::Tables { .. }) && !error.can_retry(), "{error:?}");
        assert!(error.to_string().contains("another database lies in its place"), "{error}");
    }
    rename(ground, [(name(&config), name(&other)), (&former, name(&config))]).await;
    let taken = database.take(&stream(), LONG).await.unwrap();
    assert_eq!((taken.floor, taken.ended), (Some(0), vec![1]));
    let theirs = open(&other).await.unwrap();
    let theirs = theirs.take(&stream(), LONG).await.unwrap();
    assert_eq!((theirs.fence.epoch.count, theirs.floor), (2, Some(7)), "nothing was written there");
}

/// A copy that went its own way: the same identity, bound to another cluster or to none yet.
pub async fn a_copy_of_another_clusters_is_refused(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    database.bind_cluster("ours").await.unwrap();
    let admin = ground.admin(&config).await;
    sqlx::query("UPDATE keylane.meta SET cluster = 'theirs'").execute(&admin).await.unwrap();
    let taken = database.take(&stream(), LONG).await;
    assert!(matches!(taken, Err(DatabaseError::OtherCluster { .. })), "{taken:?}");
    let settled = database.settle_start(&stream(), &[(0, 3)]).await;
    assert!(matches!(settled, Err(DatabaseError::OtherCluster { .. })), "{settled:?}");
    sqlx::query("UPDATE keylane.meta SET cluster = NULL").execute(&admin).await.unwrap();
    take(database.as_ref()).await;
    let stands = sqlx::query_scalar::<_, Option<String>>("SELECT cluster FROM keylane.meta");
    assert_eq!(stands.fetch_one(&admin).await.unwrap().as_deref(), Some("ours"), "it is bound again");
}
