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

/// The names of functions that are nobody's here.
#[derive(Debug)]
pub(crate) struct Foreign {
    /// All of them.
    pub(crate) names: HashSet<String>,
    /// Those that are also called without brackets, as if they were a column of their only argument (`x.f`), and do
    /// more than to compute. What computes alone is left out, and conversions to a type of the catalogue: columns have
    /// such names.
    pub(crate) as_columns: HashSet<String>,
}

/// Asks for all functions that are not the handlers', save those of harmless extensions.
pub(crate) async fn functions(server: &Server) -> Result<Foreign, DatabaseError> {
    let asking = async {
        let mut session = Session::acquire(&server.own).await?;
        session.begin("BEGIN READ ONLY").await?;
        let text = "SELECT proname::text, bool_or(pronargs > 0 AND provolatile <> 'i' \
                AND (pronargs - pronargdefaults <= 1 OR provariadic <> 0) \
                AND 'internal'::regtype <> ALL (proargtypes) \
                AND NOT EXISTS (SELECT FROM pg_type WHERE typname = proname \
                    AND typnamespace = 'pg_catalog'::regnamespace)) \
            FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace \
            OR EXISTS (SELECT FROM pg_depend JOIN pg_extension ON pg_extension.oid = refobjid \
                WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid \
                AND refclassid = 'pg_extension'::regclass AND extname <> ALL($1)) GROUP BY proname";
        let found = sqlx::query_as::<_, (String, bool)>(text).bind(EXTENSIONS);
        let found = found.fetch_all(session.connection()?).await?;
        let text = "SELECT extname::text FROM pg_extension WHERE extname = ANY($1) ORDER BY 1";
        let reaching = sqlx::query_scalar::<_, String>(text).bind(REACHING);
        let reaching = reaching.fetch_all(session.connection()?).await?;
        session.rollback().await;
        Ok((found, reaching))
    };
    let (found, reaching) = server.within(server.lock_wait, asking).await?;
    if !reaching.is_empty() {
        let extensions = reaching.join(", ");
        tracing::warn!(
            url = server.url,
            extensions,
            "functions made by a handler's migrations may reach beyond this database through an extension; \
             drop it, or revoke its functions from PUBLIC"
        );
    }
    let as_columns = found.iter().filter(|(_, as_column)| *as_column).map(|(name, _)| name.clone()).collect();
    Ok(Foreign { names: found.into_iter().map(|(name, _)| name).collect(), as_columns })
}
