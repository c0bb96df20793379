//! The database is replaced by an older copy of itself while a host is up: whoever took a partition before
//! knows of events whose effects are gone.

use std::sync::Arc;

use keylane_effects::{BeginError, Database, Value, open};
use keylane_engine::Fence;
use sqlx::AssertSqlSafe;

use crate::ground::{Ground, LONG, begin, execute, finish, migrate, read, stream, take};
use crate::pair_of;
use crate::suite::setbacks::{self, Backup};

const TABLE: &str = "CREATE TABLE t (a bigint)";

async fn commit(database: &dyn Database, fence: &Fence, offset: i64) {
    let run = begin(database, fence).await;
    let values = [Value::Integer(offset)];
    let (_, run) = execute(database, run, "insert into t values ($1)", &values).await.unwrap();
    finish(run, &[offset]).await.unwrap();
}

async fn say(admin: &sqlx::PgPool, text: String) {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(admin).await.unwrap();
}

async fn is_refused(database: &dyn Database, fence: &Fence) {
    let begun = database.begin(fence).await.err();
    assert!(matches!(begun, Some(BeginError::NotOwner)), "{begun:?}");
    let raised = database.raise_floor(fence, 3, None).await;
    assert!(matches!(raised, Err(BeginError::NotOwner)), "{raised:?}");
}

/// What the copy lacks is done again.
async fn goes_on(database: &dyn Database) {
    let taken = database.take(&stream(), LONG).await.unwrap();
    assert_eq!((taken.floor, taken.ended), (Some(0), vec![1]));
    commit(database, &taken.fence, 2).await;
    database.raise_floor(&taken.fence, 3, None).await.unwrap();
    let rows = read(database, "select a from t order by a").await.rows;
    assert_eq!(rows, [[Value::Integer(1)], [Value::Integer(2)]]);
}

async fn owned(database: &Arc<dyn Database>) -> Fence {
    migrate(database.as_ref(), TABLE).await;
    database.settle_start(&stream(), &[(0, 0)]).await.unwrap();
    let fence = take(database.as_ref()).await;
    commit(database.as_ref(), &fence, 1).await;
    fence
}

/// A copy that the same server made, file by file, put in the database's place: the server has been up all
/// the time, and the copy's tables have the same numbers.
pub async fn a_copy_in_its_place_ends_ownership(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let fence = owned(&database).await;
    let name = config.write.rsplit_once('/').unwrap().1;
    let admin = sqlx::PgPool::connect(&ground.server.url("postgres")).await.unwrap();
    let ended = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE datname = ";
    say(&admin, format!("{ended}'{name}'")).await;
    say(&admin, format!("CREATE DATABASE {name}_copy TEMPLATE {name} OWNER host")).await;
    commit(database.as_ref(), &fence, 2).await;
    say(&admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    say(&admin, format!("ALTER DATABASE {name}_copy RENAME TO {name}")).await;
    is_refused(database.as_ref(), &fence).await;
    goes_on(database.as_ref()).await;
}

/// Rows that were read back into the tables that are there, as of a dump of the data alone.
pub async fn rows_read_back_end_ownership(ground: &Ground<'_>) {
    let config = ground.config();
    let database = open(&config).await.unwrap();
    let fence = owned(&database).await;
    let admin = ground.admin(&config).await;
    let tables = ["keylane.fence", "keylane.claim", "keylane.floor", "public.t"];
    let mut back = String::from("BEGIN;");
    for (number, table) in tables.into_iter().enumerate() {
        say(&admin, format!("CREATE TABLE public.dump_{number} AS TABLE {table}")).await;
        back += &format!("DELETE FROM {table}; INSERT INTO {table} TABLE public.dump_{number};");
    }
    commit(database.as_ref(), &fence, 2).await;
    say(&admin, back + "COMMIT").await;
    is_refused(database.as_ref(), &fence).await;
    goes_on(database.as_ref()).await;
}

/// Data of an older day under a server that is started again cannot be told from the same data: a restart
/// costs a take.
pub async fn a_server_started_again_ends_ownership(ground: &Ground<'_>) {
    let database = open(&ground.config()).await.unwrap();
    let fence = owned(&database).await;
    ground.server.kill().unwrap();
    ground.server.up().unwrap();
    is_refused(database.as_ref(), &fence).await;
    assert_eq!(
        database.ended(&fence, &[1, 2]).await.unwrap(),
        [1],
        "what has ended is answered all the same"
    );
    goes_on(database.as_ref()).await;
}

/// The host's rows, kept beside them and read back, as of a dump of the data alone.
struct Rows {
    admin: sqlx::PgPool,
}

const KEPT: [&str; 5] = ["relay", "outbox", "claim", "fence", "floor"];

impl Backup for Rows {
    async fn make(&mut self) {
        for table in KEPT {
            say(&self.admin, format!("CREATE TABLE public.kept_{table} AS TABLE keylane.{table}")).await;
        }
    }

    async fn restore(&self) {
        let back = KEPT.map(|table| {
            format!(
                "DELETE FROM keylane.{table}; \
                 INSERT INTO keylane.{table} OVERRIDING SYSTEM VALUE TABLE public.kept_{table};"
            )
        });
        say(&self.admin, format!("BEGIN; {} COMMIT", back.concat())).await;
    }
}

pub async fn rows_older_by_one_batch_stop_the_relay(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, mut rows) = (pair_of(&config).await, Rows { admin: ground.admin(&config).await });
    setbacks::a_copy_older_by_one_batch_stops_the_relay(&pair, &mut rows).await;
}

pub async fn rows_older_than_a_batch_are_not_taken_for_sent(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, mut rows) = (pair_of(&config).await, Rows { admin: ground.admin(&config).await });
    setbacks::a_former_owners_batch_is_not_taken_for_sent(&pair, &mut rows).await;
}

pub async fn a_reset_in_older_rows_counts_no_more(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, mut rows) = (pair_of(&config).await, Rows { admin: ground.admin(&config).await });
    setbacks::a_reset_in_a_copy_counts_no_more(&pair, &mut rows).await;
}

pub async fn rows_with_the_last_batch_under_way_are_recognised(ground: &Ground<'_>) {
    let config = ground.config();
    let (pair, mut rows) = (pair_of(&config).await, Rows { admin: ground.admin(&config).await });
    setbacks::a_copy_with_the_last_batch_under_way_is_recognised(&pair, &mut rows).await;
}
