//! A handler's migrations, in one transaction, as the role of guests, by a connection of their own that is
//! closed afterwards. Hosts that start at once take turns at an advisory lock.
//!
//! A file is run from within a function of the guests' role that is SECURITY DEFINER: there PostgreSQL
//! refuses both the end of the transaction and another role, which a file run by itself could say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::error::DatabaseError;
use crate::migrations::{File, Folder};
use crate::postgres::faults;
use crate::postgres::server::Server;
use crate::postgres::tables::{GUEST, LOCK};

/// How long another host's migrations are waited for.
const TURN_MAX: Duration = Duration::from_secs(600);
/// How often the lock is asked for: waiting inside the database would hold a snapshot, which keeps
/// `CREATE INDEX` of the host that migrates waiting in turn.
const TURN_LOOK: Duration = Duration::from_millis(100);

/// Runs a file. It goes with its session.
const RUNNER: &str = "CREATE FUNCTION pg_temp.keylane_migrate(text) RETURNS void LANGUAGE plpgsql \
    SECURITY DEFINER AS 'BEGIN EXECUTE $1; END'";

/// Runs what has not run yet.
pub(crate) async fn migrate(server: &Server, handler: &str, folder: &Path) -> Result<(), DatabaseError> {
    let folder = Folder::read(folder, &server.url).await?;
    let fault = |error: sqlx::Error| server.fault(&error);
    let mut connection = server.connect().await?;
    turn(&mut connection, server).await?;
    let ran = ran(&mut connection, handler).await.map_err(fault)?;
    let pending = folder.pending(&ran)?;
    if !pending.is_empty() {
        run(&mut connection, server, handler, &folder, &pending).await?;
    }
    // Frees the lock.
    connection.close().await.map_err(fault)
}

/// Waits for the lock.
async fn turn(connection: &mut PgConnection, server: &Server) -> Result<(), DatabaseError> {
    let given_up = tokio::time::Instant::now() + TURN_MAX;
    loop {
        let asked = sqlx::query_scalar::<_, bool>("SELECT pg_try_advisory_lock($1)").bind(LOCK);
        if asked.fetch_one(&mut *connection).await.map_err(|error| server.fault(&error))? {
            return Ok(());
        }
        if tokio::time::Instant::now() > given_up {
            let said = format!("another host has been migrating for {TURN_MAX:?}");
            return Err(faults::unavailable(said, &server.url));
        }
        tokio::time::sleep(TURN_LOOK).await;
    }
}

async fn ran(connection: &mut PgConnection, handler: &str) -> Result<BTreeMap<i64, Vec<u8>>, sqlx::Error> {
    let query = sqlx::query_as("SELECT version, checksum FROM keylane.migration WHERE handler = $1");
    let rows: Vec<(i64, Vec<u8>)> = query.bind(handler).fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}

async fn run(
    connection: &mut PgConnection,
    server: &Server,
    handler: &str,
    folder: &Folder,
    pending: &[&File],
) -> Result<(), DatabaseError> {
    let fault = |error: sqlx::Error| server.fault(&error);
    say(connection, &format!("BEGIN; SET LOCAL ROLE {GUEST}; SET LOCAL search_path = public"))
        .await
        .map_err(fault)?;
    say(connection, RUNNER).await.map_err(fault)?;
    for file in pending {
        let ran = sqlx::query("SELECT pg_temp.keylane_migrate($1)").bind(&file.text);
        let ran = ran.execute(&mut *connection).await;
        ran.map_err(|error| told(&error, server, folder, Some(file)))?;
    }
    let confined = confine(connection).await;
    confined.map_err(|error| told(&error, server, folder, pending.last().copied()))?;
    say(connection, "SET LOCAL ROLE NONE").await.map_err(fault)?;
    for file in pending {
        let text = "INSERT INTO keylane.migration (handler, version, checksum) VALUES ($1, $2, $3)";
        let query = sqlx::query(text).bind(handler).bind(file.version).bind(&file.checksum);
        query.execute(&mut *connection).await.map_err(fault)?;
    }
    say(connection, &format!("SET LOCAL ROLE {GUEST}; SET LOCAL synchronous_commit = on; COMMIT"))
        .await
        .map_err(fault)
}

/// What the file is to blame for, told from a server that goes down in the middle of it.
fn told(error: &sqlx::Error, server: &Server, folder: &Folder, file: Option<&File>) -> DatabaseError {
    if faults::is_own(error) { folder.fault(file, &faults::words(error)) } else { server.fault(error) }
}

/// Still as the role of guests: what the files have put off happens now and not at the commit, as the host;
/// and every function and procedure of that role becomes SECURITY DEFINER. It runs as the same role as
/// before, but PostgreSQL refuses there to take another one.
async fn confine(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    say(connection, "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL search_path = pg_catalog, pg_temp").await?;
    let text = format!(
        "SELECT format('ALTER ROUTINE %s SECURITY DEFINER', oid::regprocedure) FROM pg_proc \
         WHERE proowner = '{GUEST}'::regrole AND NOT prosecdef AND prokind IN ('f', 'p')"
    );
    let alterations = sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(text));
    for alteration in alterations.fetch_all(&mut *connection).await? {
        say(connection, &alteration).await?;
    }
    Ok(())
}

async fn say(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(connection).await.map(|_| ())
}
