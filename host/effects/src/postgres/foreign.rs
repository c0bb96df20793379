//! Functions that are nobody's here: the catalogue's and those of extensions. A guest may call those of a
//! list, and of extensions that only compute; `dblink`, foreign data and languages that reach the machine
//! are not among them. What a handler's migrations make is its own.

use std::collections::HashSet;

use crate::error::DatabaseError;
use crate::postgres::server::Server;
use crate::postgres::session::Session;

/// Extensions whose functions compute from what they are given. Of others that do, a handler's own function
/// may call them.
const EXTENSIONS: &[&str] = &[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "unaccent",
    "uuid-ossp",
];
/// Extensions with which a handler's own function could reach other databases or the server's machine.
const REACHING: &[&str] =
    &["adminpack", "dblink", "file_fdw", "plperlu", "plpython3u", "pltclu", "postgres_fdw", "xml2"];

/// The names of all functions that are not the handlers', save those of harmless extensions.
pub(crate) async fn functions(server: &Server) -> Result<HashSet<String>, DatabaseError> {
    let asking = async {
        let mut session = Session::acquire(&server.own).await?;
        session.begin("BEGIN READ ONLY").await?;
        let text = "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
            OR EXISTS (SELECT FROM pg_depend JOIN pg_extension ON pg_extension.oid = refobjid \
                WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid \
                AND refclassid = 'pg_extension'::regclass AND extname <> ALL($1))";
        let names = sqlx::query_scalar::<_, String>(text).bind(EXTENSIONS);
        let names = names.fetch_all(session.connection()?).await?;
        let text = "SELECT extname::text FROM pg_extension WHERE extname = ANY($1) ORDER BY 1";
        let reaching = sqlx::query_scalar::<_, String>(text).bind(REACHING);
        let reaching = reaching.fetch_all(session.connection()?).await?;
        session.rollback().await;
        Ok((names, reaching))
    };
    let (names, reaching) = server.within(server.lock_wait, asking).await?;
    if !reaching.is_empty() {
        let extensions = reaching.join(", ");
        tracing::warn!(
            url = server.url,
            extensions,
            "functions made by a handler's migrations may reach beyond this database through an extension; \
             drop it, or revoke its functions from PUBLIC"
        );
    }
    Ok(names.into_iter().collect())
}
