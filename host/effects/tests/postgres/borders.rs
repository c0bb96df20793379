//! Where a handler's reach ends: its statements, and the functions, triggers and views of its migrations.

use std::time::Duration;

use keylane_effects::{
    Database, DatabaseConfig, DatabaseError, EndedAs, FinishError, KeyAsk, KeyRequest, OutboxKind, OutboxRow,
    ResultLimits, RunTransaction, StatementError, StatementLimits, StepError, Synchronous, Value, open,
};

use crate::ground::{Ground, LONG, begin, execute, finish, folder, migrate, query, read, run, take};

/// What a guest hears of a call that must fail.
async fn refused(database: &dyn Database, run: Box<dyn RunTransaction>, text: &str) -> String {
    match query(database, run, text, &[]).await {
        Err(failed) => match failed.error {
            StepError::Statement(StatementError::Refused(said)) => said,
            other => panic!("{text}: {other:?}"),
        },
        Ok((rows, _)) => panic!("{text} was not refused: {rows:?}"),
    }
}

/// A function that says SET ROLE is refused by PostgreSQL: it is SECURITY DEFINER, whatever the migration said.
pub async fn a_function_cannot_take_the_hosts_role(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE FUNCTION plain() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET ROLE NONE; END'; \
        CREATE FUNCTION local() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET LOCAL ROLE NONE; END'; \
        CREATE FUNCTION hidden() RETURNS void LANGUAGE plpgsql AS \
            $$ BEGIN EXECUTE 'SET ' || 'ROLE NONE'; END $$; \
        CREATE FUNCTION config() RETURNS text LANGUAGE sql AS \
            $$ SELECT set_config('role', 'none', true) $$; \
        CREATE FUNCTION reset() RETURNS void LANGUAGE plpgsql AS 'BEGIN RESET ROLE; END'; \
        CREATE FUNCTION session() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET SESSION AUTHORIZATION host; END'; \
        CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN SET ROLE NONE; RETURN NEW; END'; \
        CREATE TRIGGER fires BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires()";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    for text in [
        "select plain()",
        "select local()",
        "select hidden()",
        "select config()",
        "select reset()",
        "select session()",
        "insert into t values (1)",
    ] {
        let said = refused(database.as_ref(), begin(database.as_ref(), &fence).await, text).await;
        assert!(said.contains("security-definer function"), "{text}: {said}");
    }
}

/// What PostgreSQL does not refuse is found at the event's end and at the run's, and nothing is written.
pub async fn a_view_that_takes_the_hosts_role_is_found(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE VIEW taking AS SELECT set_config('role', 'none', true) AS role";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = query(database.as_ref(), run, "select role from taking", &[]).await.unwrap();
    let finished = finish(run, &[1]).await;
    assert!(matches!(&finished, Err(FinishError::Refused(said)) if said.contains("role")), "{finished:?}");
    let (_, run) = begin(database.as_ref(), &fence).await.savepoint().await.unwrap();
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    let (_, run) = run.savepoint().await.unwrap();
    let (_, run) = query(database.as_ref(), run, "select role from taking", &[]).await.unwrap();
    let failed = run.savepoint().await.err().unwrap();
    let StepError::Statement(StatementError::Refused(said)) = &failed.error else { panic!("{failed:?}") };
    assert!(said.contains("role"), "{said}");
    let (_, run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    finish(run, &[2]).await.unwrap();
    assert_eq!(read(database.as_ref(), "select a from t").await.rows, [[Value::Integer(1)]]);
    assert_eq!(database.ended(&fence, &[1, 2]).await.unwrap(), [2]);
}

/// A request for values takes the host's role and gives back the guest's: not from a session that has taken
/// another one itself, which would hide it.
pub async fn values_by_key_do_not_hide_a_taken_role(ground: &Ground<'_>) {
    let database =
        ground.database("CREATE VIEW taking AS SELECT set_config('role', 'none', true) AS role").await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = query(database.as_ref(), run, "select role from taking", &[]).await.unwrap();
    let ask = KeyAsk::Put(vec![(b"a".to_vec(), b"1".to_vec())]);
    let failed = run.keyvalue(KeyRequest { bucket: "seen".to_owned(), ask }, LONG).await.err().unwrap();
    let StepError::Statement(StatementError::Refused(said)) = &failed.error else { panic!("{failed:?}") };
    assert!(said.contains("role"), "{said}");
    assert!(failed.transaction.is_none());
}

/// A deferred trigger fires before the host writes, as the role that the guest's statements had; one that
/// puts off itself once more fires at COMMIT as that role too.
pub async fn a_deferred_trigger_fires_as_the_guest(ground: &Ground<'_>) {
    let tables = "CREATE TABLE seen (who text, security text); CREATE TABLE late (again boolean); \
        CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            INSERT INTO public.seen VALUES (current_user, current_setting('role')); \
            IF NEW.again THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.late VALUES (false); END IF; \
            RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION see(); \
        INSERT INTO late VALUES (true)";
    let database = ground.database(tables).await;
    let run = run(database.as_ref()).await;
    let (_, run) = execute(database.as_ref(), run, "insert into late values (true)", &[]).await.unwrap();
    finish(run, &[1]).await.unwrap();
    let seen = read(database.as_ref(), "select who, security from seen").await.rows;
    let guest = Value::Text("keylane_guest".to_owned());
    assert_eq!(seen, vec![vec![guest.clone(), guest]; 4], "two of the migration's, two of the run's");
}

/// What a function of the handler's own may try: the server's files and programs, other databases, extensions,
/// the host's tables.
pub async fn functions_reach_this_database_and_no_other(ground: &Ground<'_>) {
    let tries = [
        ("SELECT pg_read_file('postgresql.conf')", "permission denied"),
        ("SELECT pg_ls_dir('.')", "permission denied"),
        ("COPY t TO '/tmp/keylane-copied'", "permission denied"),
        ("COPY t FROM PROGRAM 'id'", "permission denied"),
        ("SELECT lo_import('/etc/passwd')", "permission denied"),
        ("CREATE EXTENSION dblink", "permission denied"),
        ("CREATE FUNCTION c() RETURNS int LANGUAGE c AS 'x', 'y'", "permission denied"),
        ("CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw", "not exist"),
        ("CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false)", "permission denied"),
        ("ALTER ROLE host SUPERUSER", "permission denied"),
        ("CREATE ROLE other", "permission denied"),
        ("DROP SCHEMA keylane CASCADE", "must be owner"),
        ("DELETE FROM keylane.claim", "permission denied"),
        ("SELECT keylane.claim(1, 0, '{9}', '{1}')", "permission denied"),
        ("SELECT keylane.holds(1, 1, 1)", "permission denied"),
        (
            "CREATE OR REPLACE FUNCTION keylane.holds(bigint, bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "permission denied",
        ),
        (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'host'",
            "permission denied",
        ),
        ("CREATE EVENT TRIGGER e ON ddl_command_start EXECUTE FUNCTION x()", "permission denied"),
    ];
    let functions: String = tries
        .iter()
        .enumerate()
        .map(|(number, (text, _))| {
            let text = text.replace('\'', "''");
            format!("CREATE FUNCTION try{number}() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE '{text}'; END $f$; ")
        })
        .collect();
    let database = ground.database(&format!("CREATE TABLE t (a text); {functions}")).await;
    let fence = take(database.as_ref()).await;
    for (number, (text, expected)) in tries.iter().enumerate() {
        let run = begin(database.as_ref(), &fence).await;
        let failed = query(database.as_ref(), run, &format!("select try{number}()"), &[]).await.err();
        let said = failed.unwrap_or_else(|| panic!("{text} was not refused")).error.to_string();
        assert!(said.contains(expected), "{text}: {said}");
    }
    assert!(!std::path::Path::new("/tmp/keylane-copied").exists());
}

/// `dblink` would reach other databases, `tablefunc` runs a text as SQL; what only computes may be called.
pub async fn extensions_that_reach_further_are_refused(ground: &Ground<'_>) {
    let config = ground.config();
    let text = "CREATE EXTENSION dblink; CREATE EXTENSION tablefunc; CREATE EXTENSION pgcrypto";
    sqlx::raw_sql(text).execute(&ground.admin(&config).await).await.unwrap();
    let database = open(&config).await.unwrap();
    for text in [
        "select * from dblink('dbname=postgres', 'select 1') as x(a int)",
        "select dblink_connect('dbname=postgres')",
        "select public.dblink_exec('dbname=postgres', 'select 1')",
        "select * from \"dblink\"('dbname=postgres', 'select 1') as x(a int)",
        "select * from crosstab('select 1, 2, 3') as x(a int, b int)",
    ] {
        let checked = database.check(text, &[], &StatementLimits::default());
        assert!(matches!(checked, Err(StatementError::Refused(_))), "{text}: {checked:?}");
    }
    migrate(database.as_ref(), "CREATE TABLE t (a int)").await;
    let digest = "select encode(digest('a', 'sha256'), 'hex')";
    let (rows, _) = query(database.as_ref(), run(database.as_ref()).await, digest, &[]).await.unwrap();
    assert_eq!(rows.rows.len(), 1);
}

/// Functions and operators of the handler's that fit the host's statements better than the catalogue's own.
pub async fn names_of_the_handler_are_not_taken_for_the_hosts(ground: &Ground<'_>) {
    let mut hostile = "CREATE TABLE t (a int); ".to_owned();
    for (name, parameters, answers) in [
        ("unnest", "bigint[]", "SETOF bigint"),
        ("unnest", "int[]", "SETOF int"),
        ("unnest", "smallint[]", "SETOF smallint"),
        ("unnest", "text[]", "SETOF text"),
        ("count", "bigint", "bigint"),
        ("cardinality", "int[]", "int"),
        ("pg_blocking_pids", "int", "int[]"),
        ("hashtextextended", "text, int", "bigint"),
        ("replace", "text, text, text", "text"),
        ("has_schema_privilege", "text, text, text", "boolean"),
        ("now", "", "timestamptz"),
    ] {
        hostile.push_str(&format!(
            "CREATE FUNCTION public.{name}({parameters}) RETURNS {answers} LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'the handler was called as %', current_user; END $$; "
        ));
    }
    let config = ground.config();
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), &hostile).await;
    let again = open(&config).await.unwrap();
    let fence = take(again.as_ref()).await;
    again.settle_start(&crate::ground::stream(), &[(0, 0), (1, 0)]).await.unwrap();
    let run = begin(again.as_ref(), &fence).await;
    let (_, run) = execute(again.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    finish(run, &[1, 2, 3]).await.unwrap();
    assert_eq!(again.ended(&fence, &[1, 9]).await.unwrap(), [1]);
    assert_eq!(again.raise_floor(&fence, 3, None).await.unwrap().claims, 2);
    again.bind_cluster("cluster").await.unwrap();
    let more = folder(&[("1_u.sql", "CREATE TABLE u (a int)")]);
    again.migrate("other", more.path()).await.unwrap();
}

/// Temporary tables come before the catalogue where nobody says otherwise, as tables and as types, and they outlive
/// their run in its session.
pub async fn temporary_tables_are_not_taken_for_the_catalogues(ground: &Ground<'_>) {
    let types = ["text", "bytea", "int2", "int4", "int8", "numeric", "interval", "regprocedure", "regrole"];
    let types: String = types.map(|name| format!("CREATE TEMP TABLE \"{name}\" (a int); ")).concat();
    let hide = format!(
        "CREATE TABLE t (a int); CREATE FUNCTION hide() RETURNS void LANGUAGE plpgsql AS $$ BEGIN {types} \
         CREATE TEMP TABLE pg_database (oid oid, datname name); END $$"
    );
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), &hide).await;
    let fence = take(database.as_ref()).await;
    let (_, run) =
        query(database.as_ref(), begin(database.as_ref(), &fence).await, "select hide()", &[]).await.unwrap();
    run.finish(&[output()], &[(1, EndedAs::Done)], LONG).await.unwrap();
    let (_, run) = begin(database.as_ref(), &fence).await.savepoint().await.unwrap();
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    let (_, run) = run.savepoint().await.unwrap();
    run.finish(&[output()], &[(2, EndedAs::Done)], LONG).await.unwrap();
    let sneaks = "CREATE TEMP TABLE pg_proc AS SELECT * FROM pg_catalog.pg_proc WITH NO DATA; \
        CREATE FUNCTION sneaks() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET ROLE NONE; END'";
    database.migrate("sneaks", folder(&[("1_sneaks.sql", sneaks)]).path()).await.unwrap();
    let said = refused(database.as_ref(), begin(database.as_ref(), &fence).await, "select sneaks()").await;
    assert!(said.contains("security-definer function"), "{said}");
}

/// One that a function has left in the session stands in the way of no later run, which means the table of the
/// handler's; nor does one of its own run, before a request for values and after it.
pub async fn temporary_tables_are_not_taken_for_the_handlers(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); CREATE FUNCTION hide() RETURNS void LANGUAGE plpgsql AS \
        $$ BEGIN CREATE TEMP TABLE t (a int); END $$";
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = query(database.as_ref(), run, "select hide()", &[]).await.unwrap();
    finish(run, &[1]).await.unwrap();
    let run = begin(database.as_ref(), &fence).await;
    let left = query(database.as_ref(), run, "select hide()", &[]).await.err().unwrap();
    assert!(left.error.to_string().contains("already exists"), "it is another session: {left:?}");
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    let ask = KeyAsk::Put(vec![(b"a".to_vec(), b"1".to_vec())]);
    let (_, run) = run.keyvalue(KeyRequest { bucket: "seen".to_owned(), ask }, LONG).await.unwrap();
    let (_, run) = execute(database.as_ref(), run, "insert into t values (2)", &[]).await.unwrap();
    finish(run, &[2]).await.unwrap();
    let rows = read(database.as_ref(), "select a from t order by a").await.rows;
    assert_eq!(rows, [[Value::Integer(1)], [Value::Integer(2)]]);
}

fn output() -> OutboxRow {
    let (kind, topic) = (OutboxKind::Record, "out".to_owned());
    OutboxRow { event_offset: 1, ordinal: 0, kind, topic, key: None, value: None, headers: Vec::new() }
}

/// A superuser's rights end at no database.
pub async fn a_superuser_is_refused(ground: &Ground<'_>) {
    let config = DatabaseConfig::new(ground.server.url("postgres"));
    let refused = open(&config).await.err().unwrap();
    assert!(matches!(refused, DatabaseError::Address { .. }) && !refused.can_retry(), "{refused:?}");
    assert!(refused.to_string().contains("superuser"), "{refused}");
}

/// Who is not let in is told what to look at.
pub async fn an_unknown_user_is_told_so(ground: &Ground<'_>) {
    let known = ground.config().write;
    let (_, place) = known.rsplit_once('@').unwrap();
    let refused = open(&DatabaseConfig::new(format!("postgres://stranger@{place}"))).await.err().unwrap();
    assert!(matches!(refused, DatabaseError::Address { .. }) && !refused.can_retry(), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("\"stranger\"") && said.contains("password-file"), "{said}");
}

/// An output that has left must not be undone by the server's end.
pub async fn a_commit_that_is_not_pressed_to_the_disk_is_refused(ground: &Ground<'_>) {
    let config = DatabaseConfig { synchronous: Synchronous::Normal, ..ground.config() };
    let refused = open(&config).await.err().unwrap();
    assert!(refused.to_string().contains("is for SQLite") && !refused.can_retry(), "{refused}");
}

/// A function may catch its own cancellation. Its session is ended, which it cannot catch.
pub async fn a_function_that_will_not_be_stopped_is_ended(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE FUNCTION deaf() RETURNS void LANGUAGE plpgsql AS $$ BEGIN LOOP \
            BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    let deaf = database.check("select deaf()", &[], &StatementLimits::default()).unwrap();
    let limits = ResultLimits { rows: 1, bytes: 100 };
    let run = begin(database.as_ref(), &fence).await;
    let failed = run.query(deaf.clone(), Vec::new(), limits, Duration::from_millis(200)).await.err().unwrap();
    assert!(matches!(failed.error, StepError::Statement(StatementError::Late(_))), "{failed:?}");
    assert!(failed.transaction.is_none());
    let late = database.query(deaf, Vec::new(), limits, Duration::from_millis(200)).await;
    assert!(matches!(late, Err(StatementError::Late(_))), "{late:?}");
    // It holds nothing: a take that ends nobody within its time would not be granted.
    let taken = database.take(&crate::ground::stream(), crate::ground::LONG).await.unwrap();
    finish(begin(database.as_ref(), &taken.fence).await, &[1]).await.unwrap();
}

/// A session in which backslashes count would read a text otherwise than the host has checked it: what a
/// function sets does not outlive its run.
pub async fn a_function_cannot_change_how_texts_are_read(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a text); \
        CREATE FUNCTION change() RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
            SET standard_conforming_strings = off; SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; \
            SET backslash_quote = on; END $$";
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    let run = begin(database.as_ref(), &fence).await;
    let (_, run) = query(database.as_ref(), run, "select change()", &[]).await.unwrap();
    finish(run, &[1]).await.unwrap();
    let run = begin(database.as_ref(), &fence).await;
    // With backslashes that count, the first text would end at the third quote.
    let text = r"insert into t values ('\'), ('x')";
    let (count, run) = execute(database.as_ref(), run, text, &[]).await.unwrap();
    assert_eq!(count, 2, "read otherwise than checked");
    finish(run, &[2]).await.unwrap();
}

/// A function may forget what the session has prepared and put a statement of its own under a name that was there.
/// Were it the host's, it would run with the host's rights, and nothing would be sent.
pub async fn a_function_cannot_put_its_own_in_place_of_the_hosts_statements(ground: &Ground<'_>) {
    let tables = "CREATE FUNCTION replace() RETURNS void LANGUAGE plpgsql AS $$ DECLARE one record; BEGIN \
            FOR one IN SELECT name FROM pg_prepared_statements WHERE statement LIKE '%keylane.%' LOOP \
                EXECUTE format('DEALLOCATE %I', one.name); \
                EXECUTE format('PREPARE %I (bigint, bigint[], int[], smallint[], text[], bytea[], bytea[], \
                    bytea[]) AS SELECT 1', one.name); \
            END LOOP; END $$";
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    for (offset, replaces) in [(1, false), (2, true), (3, false)] {
        let run = begin(database.as_ref(), &fence).await;
        let (_, run) = query(database.as_ref(), run, "select replace()", &[]).await.unwrap();
        let (kind, topic) = (OutboxKind::Record, "out".to_owned());
        let (key, value, headers) = (None, None, Vec::new());
        let row = OutboxRow { event_offset: offset, ordinal: 0, kind, topic, key, value, headers };
        let finished = run.finish(&[row], &[(offset, EndedAs::Done)], LONG).await;
        match finished {
            Err(FinishError::Refused(said)) if replaces => assert!(said.contains("prepared"), "{said}"),
            finished => assert!(finished.is_ok() && !replaces, "{offset}: {finished:?}"),
        }
    }
    assert_eq!(database.ended(&fence, &[1, 2, 3]).await.unwrap(), [1, 3]);
}
