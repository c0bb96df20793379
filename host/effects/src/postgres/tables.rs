//! The host's own tables in the schema `keylane`, the role that guests speak as, and the database's identity.
//! Hosts that start at once wait for each other at an advisory lock.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use crate::database::Identity;
use crate::error::{DatabaseError, same_cluster, same_version};
use crate::postgres::faults;
use crate::postgres::ownership::begin;
use crate::postgres::plans;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// The role of guests and migrations. Roles belong to all databases of a server; this one cannot log in, so
/// that it reaches only the database to which the host is connected.
pub(crate) const GUEST: &str = "keylane_guest";
/// Where names in guests' statements are looked for. Temporary tables are named, and last: unnamed they come first.
pub(crate) const GUEST_PATH: &str = "SET LOCAL search_path = public, pg_temp";
/// The lock under which the host's tables are made and handlers are migrated: any number that is ours.
pub(crate) const LOCK: i64 = 0x006b_6579_6c61_6e65;
/// The version of the host's tables.
const VERSION: i32 = 2;
/// How long making them may take, behind other hosts that do the same.
const MAKE_MAX: Duration = Duration::from_secs(60);
/// `duplicate_object`: another host made the role meanwhile.
const DUPLICATE: &str = "42710";

/// The host's tables. No run ever locks a floor; a fence is changed by takes only, each of which has noted
/// before which epoch it will have. The relay numbers batches of
/// the outbox's rows when they are visible: the order of `id` follows neither commits nor locks.
const TABLES: &str = "
CREATE SCHEMA keylane;
REVOKE ALL ON SCHEMA keylane FROM PUBLIC;
CREATE TABLE keylane.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    database_id text NOT NULL,
    cluster text,
    made_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE keylane.stream (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fleet text NOT NULL,
    handler text NOT NULL,
    replay bigint NOT NULL,
    topic_id bytea NOT NULL,
    partition integer NOT NULL,
    topic text NOT NULL,
    UNIQUE (fleet, handler, replay, topic_id, partition)
);
CREATE TABLE keylane.fence (
    stream bigint PRIMARY KEY,
    epoch bigint NOT NULL,
    nonce bigint NOT NULL,
    server_began timestamptz NOT NULL,
    in_database oid NOT NULL,
    written_by xid NOT NULL
);
CREATE TABLE keylane.wanted (
    stream bigint PRIMARY KEY,
    epoch bigint NOT NULL
);
CREATE TABLE keylane.floor (
    stream bigint PRIMARY KEY,
    floor bigint NOT NULL,
    read_to bigint,
    leader_epoch integer
);
CREATE TABLE keylane.claim (
    stream bigint,
    event_offset bigint,
    ended_as smallint NOT NULL,
    CONSTRAINT claim_pkey PRIMARY KEY (stream, event_offset)
);
CREATE TABLE keylane.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream bigint NOT NULL,
    event_offset bigint NOT NULL,
    ordinal integer NOT NULL,
    kind smallint NOT NULL,
    topic text NOT NULL,
    key bytea,
    value bytea,
    headers bytea NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    parked smallint NOT NULL DEFAULT 0,
    not_before timestamptz,
    made_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX outbox_records ON keylane.outbox (topic, id) WHERE kind = 1 AND parked <= 0;
CREATE INDEX outbox_mails ON keylane.outbox (id) WHERE kind = 2 AND parked <= 0;
CREATE INDEX outbox_parked ON keylane.outbox (topic, md5(key)) WHERE parked > 0;
CREATE INDEX outbox_due ON keylane.outbox (not_before) WHERE parked = 1;
CREATE TABLE keylane.relay (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    fleet text,
    host text,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    epoch bigint NOT NULL DEFAULT 0,
    nonce bigint NOT NULL DEFAULT 0,
    begun smallint NOT NULL DEFAULT 0 CHECK (begun IN (0, 1, 2)),
    numbering bigint NOT NULL DEFAULT 0,
    next_numbering bigint NOT NULL DEFAULT 0,
    sent bigint NOT NULL DEFAULT 0,
    highest bigint NOT NULL DEFAULT 0,
    batch bigint[] NOT NULL DEFAULT '{}'
);
INSERT INTO keylane.relay DEFAULT VALUES;
CREATE TABLE keylane.keyvalue (
    bucket text,
    key bytea,
    value bytea NOT NULL,
    PRIMARY KEY (bucket, key)
);
CREATE TABLE keylane.migration (
    handler text,
    version bigint,
    checksum bytea NOT NULL,
    ran_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (handler, version)
);
";

/// Makes what is missing and answers which database this is.
pub(crate) async fn prepare(server: &Arc<Server>) -> Result<Identity, DatabaseError> {
    let mut connection = server.connect().await?;
    refuse_superuser(&mut connection, server).await?;
    make_role(&mut connection, server).await?;
    let tables = |reason: String| DatabaseError::Tables { url: server.url.clone(), reason };
    let hinted = |error: sqlx::Error| match server.fault(&error) {
        DatabaseError::Tables { reason, .. } => tables(format!("{reason}. {}", hint())),
        other => other,
    };
    let made = tokio::time::timeout(MAKE_MAX, make_tables(&mut connection)).await;
    let kept = || faults::late(format!("another session has kept the lock of the tables for {MAKE_MAX:?}"));
    let (version, database) = made.unwrap_or_else(|_| Err(kept())).map_err(hinted)?;
    same_version(&server.url, version.into(), VERSION.into())?;
    say(&mut connection, format!("SET ROLE {GUEST}; RESET ROLE")).await.map_err(hinted)?;
    // A failure to take leave changes nothing.
    let _ = connection.close().await;
    Ok(Identity { database, driver: "postgres" })
}

/// Whether this user may read as guests do; nothing is made or changed. Where nobody has made their role yet, as on a
/// server at whose handlers' very first start readers ask before writers, it comes later.
pub(crate) async fn may_read(server: &Arc<Server>) -> Result<(), DatabaseError> {
    let mut connection = server.connect().await?;
    refuse_superuser(&mut connection, server).await?;
    say(&mut connection, format!("SET ROLE {GUEST}; RESET ROLE")).await.map_err(|error| {
        match server.fault(&error) {
            gone if gone.can_retry() => gone,
            _ if faults::code(&error) == Some(faults::NO_ROLE) => faults::unavailable(
                format!("{error}: no handler that writes to a database of this server has been started yet"),
                &server.url,
            ),
            _ => DatabaseError::Tables {
                url: server.url.clone(),
                reason: format!(
                    "its user cannot read as guests do ({error}). Whoever may can say, with that user for READER: \
                     GRANT {GUEST} TO READER"
                ),
            },
        }
    })?;
    // A failure to take leave changes nothing.
    let _ = connection.close().await;
    Ok(())
}

/// Makes the database the one of this Kafka cluster, or says whose it is.
pub(crate) async fn bind_cluster(server: &Arc<Server>, cluster: &str) -> Result<(), DatabaseError> {
    let binding = async {
        let mut session = begin(server).await?;
        let text = "UPDATE keylane.meta SET cluster = coalesce(cluster, $1) RETURNING cluster";
        let stands = sqlx::query_scalar::<_, String>(text).bind(cluster);
        let stands = stands.fetch_one(session.connection()?).await?;
        session.commit().await?;
        Ok(stands)
    };
    same_cluster(&server.url, server.within(server.lock_wait, binding).await?, cluster)?;
    // Set before only by an earlier call, to the same.
    let _ = server.cluster.set(cluster.to_owned());
    Ok(())
}

/// What a transaction of the host's own reads first, for [`hold_to`].
pub(crate) const WHICH: &str = "SELECT database_id, cluster FROM keylane.meta";

/// Holds a transaction to the database that was opened, and to its cluster: another one may have come to lie at
/// the address while the host is up. An older copy, from before it was bound to the cluster, is bound again.
pub(crate) async fn hold_to(
    server: &Server,
    session: &mut Session,
    which: Option<&PgRow>,
) -> Result<(), sqlx::Error> {
    let Some(opened) = server.database.get() else { return Ok(()) };
    let found: Option<String> = which.map(|row| row.try_get(0)).transpose()?;
    if found.as_ref() != Some(opened) {
        return Err(another(server));
    }
    let Some(asked) = server.cluster.get() else { return Ok(()) };
    let stands: Option<String> = which.map(|row| row.try_get(1)).transpose()?.flatten();
    if let Some(stands) = stands {
        return same_cluster(&server.url, stands, asked).map_err(faults::found);
    }
    let bind = sqlx::query("UPDATE keylane.meta SET cluster = $1 WHERE cluster IS NULL").bind(asked);
    bind.execute(session.connection()?).await?;
    Ok(())
}

/// What is said of one that is none of this host's.
pub(crate) fn another(server: &Server) -> sqlx::Error {
    let reason = "another database lies in its place now; if that is meant, start the hosts again".to_owned();
    faults::found(DatabaseError::Tables { url: server.url.clone(), reason })
}

async fn say(connection: &mut PgConnection, text: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(connection).await.map(|_| ())
}

/// A superuser's session is no border at all: a function of a handler's that takes its role back could run
/// programs on the server.
async fn refuse_superuser(connection: &mut PgConnection, server: &Server) -> Result<(), DatabaseError> {
    let asked = "SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user";
    let asked = sqlx::query_scalar::<_, bool>(asked).fetch_one(connection).await;
    if asked.map_err(|error| server.fault(&error))? {
        let reason = "its user is a superuser, whose rights end at no database; make a plain user that owns the \
                      database: CREATE ROLE host LOGIN CREATEROLE; ALTER DATABASE name OWNER TO host";
        return Err(DatabaseError::Address { url: server.url.clone(), reason: reason.to_owned() });
    }
    Ok(())
}

/// The role, if it is missing and this user may make it. Whether it can be used is seen later.
async fn make_role(connection: &mut PgConnection, server: &Server) -> Result<(), DatabaseError> {
    let known =
        sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1)");
    let known = known.bind(GUEST).fetch_one(&mut *connection).await.map_err(|error| server.fault(&error))?;
    if known {
        return Ok(());
    }
    match say(connection, format!("CREATE ROLE {GUEST} NOLOGIN; GRANT {GUEST} TO CURRENT_USER")).await {
        Ok(()) => Ok(()),
        // Roles are of all databases, this lock of one only, so that another host may have been quicker.
        Err(error) if matches!(faults::code(&error), Some(DUPLICATE | faults::UNIQUE)) => Ok(()),
        Err(error) => Err(DatabaseError::Tables {
            url: server.url.clone(),
            reason: format!("the role {GUEST} is missing and cannot be made ({error}). {}", hint()),
        }),
    }
}

/// What an operator can do about missing rights.
fn hint() -> String {
    format!(
        "Whoever may can say, with the host's user for HOST: CREATE ROLE {GUEST} NOLOGIN; \
         GRANT {GUEST} TO HOST; GRANT CREATE ON DATABASE and USAGE, CREATE ON SCHEMA public likewise; \
         GRANT USAGE, CREATE ON SCHEMA public TO {GUEST}"
    )
}

/// Answers the version of the tables and the database's identity.
async fn make_tables(connection: &mut PgConnection) -> Result<(i32, String), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    let made = "SELECT to_regclass('keylane.meta') IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(made).fetch_one(&mut *transaction).await? {
        say(&mut transaction, format!("{TABLES}{}", plans::functions())).await?;
        let insert = "INSERT INTO keylane.meta (version, database_id) \
                      VALUES ($1, replace(gen_random_uuid()::text, '-', ''))";
        sqlx::query(insert).bind(VERSION).execute(&mut *transaction).await?;
    }
    let meta = "SELECT version, database_id FROM keylane.meta";
    let meta = sqlx::query_as::<_, (i32, String)>(meta).fetch_one(&mut *transaction).await?;
    // Where tables of another version lie nothing is changed, the rights neither.
    if meta.0 != VERSION {
        return Ok(meta);
    }
    // Under the lock: two that grant at once fail with "tuple concurrently updated".
    let may =
        "SELECT has_schema_privilege($1, 'public', 'CREATE') AND has_schema_privilege($1, 'public', 'USAGE')";
    if !sqlx::query_scalar::<_, bool>(may).bind(GUEST).fetch_one(&mut *transaction).await? {
        say(&mut transaction, format!("GRANT USAGE, CREATE ON SCHEMA public TO {GUEST}")).await?;
    }
    transaction.commit().await?;
    Ok(meta)
}
