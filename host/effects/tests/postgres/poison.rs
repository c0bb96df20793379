//! Handlers whose own functions stand in the way of their runs' end. Whatever they do, it is the fault of their
//! event, which is charged for it: a run that comes to nothing without anybody's fault would be done again
//! for ever.

use keylane_effects::{
    Database, DatabaseConfig, EndedAs, FinishError, OutboxKind, OutboxRow, RunTransaction, StatementError,
    StatementFailed, StepError, Value, open,
};

use crate::ground::{Ground, LONG, begin, execute, finish, migrate, query, read, take};

/// What a server in trouble, or other transactions, are answered with; a function may raise any of them.
const CODES: [&str; 14] = [
    "57P01", "57P03", "57014", "58030", "XX000", "XX001", "53100", "53300", "08006", "40001", "40P01",
    "55P03", "25P02", "25P03",
];

fn output() -> OutboxRow {
    let (kind, topic) = (OutboxKind::Record, "out".to_owned());
    OutboxRow { event_offset: 1, ordinal: 0, kind, topic, key: None, value: None, headers: Vec::new() }
}

fn said(failed: &StatementFailed) -> &str {
    match &failed.error {
        StepError::Statement(StatementError::Refused(said)) => said,
        other => panic!("not the event's fault: {other:?}"),
    }
}

/// Claims, or claims and outputs, cannot be written by a transaction that only reads.
pub async fn a_run_that_is_made_to_read_only_is_its_events_fault(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE FUNCTION freeze() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET transaction_read_only = on; END'; \
        CREATE VIEW freezing AS SELECT set_config('transaction_read_only', 'on', true) AS a";
    let database = ground.database(tables).await;
    let fence = take(database.as_ref()).await;
    for (text, outputs) in [("select freeze()", vec![output()]), ("select a from freezing", Vec::new())] {
        let run = begin(database.as_ref(), &fence).await;
        let (_, run) = query(database.as_ref(), run, text, &[]).await.unwrap();
        let finished = run.finish(&outputs, &[(1, EndedAs::Done)], LONG).await;
        assert!(
            matches!(&finished, Err(FinishError::Refused(said)) if said.contains("read")),
            "{finished:?}"
        );
    }
    let (_, run) = begin(database.as_ref(), &fence).await.savepoint().await.unwrap();
    let (_, run) = execute(database.as_ref(), run, "insert into t values (1)", &[]).await.unwrap();
    let (_, run) = run.savepoint().await.unwrap();
    let (_, run) = query(database.as_ref(), run, "select freeze()", &[]).await.unwrap();
    let failed = run.savepoint().await.err().unwrap();
    assert!(said(&failed).contains("read"), "{failed:?}");
    let (_, run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    finish(run, &[2]).await.unwrap();
    assert_eq!(database.ended(&fence, &[1, 2]).await.unwrap(), [2]);
    assert_eq!(read(database.as_ref(), "select a from t").await.rows, [[Value::Integer(1)]]);
}

async fn raising(ground: &Ground<'_>) -> std::sync::Arc<dyn Database> {
    let tables = "CREATE TABLE late (code text, again boolean); \
        CREATE FUNCTION raises(code text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
            RAISE EXCEPTION USING MESSAGE = 'cached plan', ERRCODE = code, CONSTRAINT = 'claim_pkey'; END $$; \
        CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF NEW.again THEN SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.late VALUES (NEW.code, false); \
            ELSE PERFORM public.raises(NEW.code); END IF; RETURN NULL; END $$; \
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED \
            FOR EACH ROW EXECUTE FUNCTION fires()";
    ground.database(tables).await
}

async fn late(database: &dyn Database, run: Box<dyn RunTransaction>, code: &str, again: bool) -> FinishError {
    let values = [Value::Text(code.to_owned()), Value::Boolean(again)];
    let (_, run) = execute(database, run, "insert into late values ($1, $2)", &values).await.unwrap();
    finish(run, &[1]).await.err().unwrap()
}

/// In a statement of the event's own.
pub async fn what_a_function_raises_is_its_events_fault(ground: &Ground<'_>) {
    let database = raising(ground).await;
    let (_, mut run) =
        begin(database.as_ref(), &take(database.as_ref()).await).await.savepoint().await.unwrap();
    for code in CODES.into_iter().chain(["23505", "0A000"]) {
        let values = [Value::Text(code.to_owned())];
        let failed = query(database.as_ref(), run, "select raises($1)", &values).await.err().unwrap();
        assert_eq!(said(&failed), "cached plan", "{code}");
        ((), run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    }
    finish(run, &[1]).await.unwrap();
}

/// Put off to the run's end, or once more, to the commit itself: the server's clear no is no commit whose outcome
/// nobody knows, whatever the words.
pub async fn what_a_late_trigger_raises_is_its_events_fault(ground: &Ground<'_>) {
    let database = raising(ground).await;
    let fence = take(database.as_ref()).await;
    for code in CODES.into_iter().chain(["23505", "0A000"]) {
        for again in [false, true] {
            let refused = late(database.as_ref(), begin(database.as_ref(), &fence).await, code, again).await;
            let own = matches!(&refused, FinishError::Refused(said) if said.contains("cached plan"));
            assert!(own, "{code}, again {again}: {refused:?}");
        }
    }
    assert_eq!(read(database.as_ref(), "select count(*) from late").await.rows, [[Value::Integer(0)]]);
    let (_, run) = begin(database.as_ref(), &fence).await.savepoint().await.unwrap();
    let values = [Value::Text("57P03".to_owned())];
    let (_, run) =
        execute(database.as_ref(), run, "insert into late values ($1, false)", &values).await.unwrap();
    let failed = run.savepoint().await.err().unwrap();
    assert_eq!(said(&failed), "cached plan");
    let (_, run) = failed.transaction.unwrap().rollback_to_savepoint().await.unwrap();
    finish(run, &[1]).await.unwrap();
}

/// A function can have the session forget what the host has prepared there. Nobody is charged for what fails then,
/// neither the event nor those that come later in the same session.
pub async fn a_function_that_forgets_what_is_prepared_harms_nobody(ground: &Ground<'_>) {
    let tables = "CREATE TABLE t (a int); \
        CREATE FUNCTION forget() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$";
    let config = DatabaseConfig { write_connections: 1, ..ground.config() };
    let database = open(&config).await.unwrap();
    migrate(database.as_ref(), tables).await;
    let fence = take(database.as_ref()).await;
    let (mut conflicts, mut offset) = (0, 0);
    for text in ["insert into t values (1)", "select forget()", "insert into t values (1)", "select forget()"]
    {
        loop {
            let run = begin(database.as_ref(), &fence).await;
            let said = match query(database.as_ref(), run, text, &[]).await {
                Ok((_, run)) => match run.finish(&[output()], &[(offset, EndedAs::Done)], LONG).await {
                    Ok(()) => break,
                    Err(FinishError::Conflict(said)) => said,
                    Err(other) => panic!("{text}: {other:?}"),
                },
                Err(StatementFailed { error: StepError::Conflict(said), .. }) => said,
                Err(other) => panic!("{text}: {other:?}"),
            };
            conflicts += 1;
            assert!(conflicts < 10 && said.contains("does not exist"), "{text}: {said}");
        }
        offset += 1;
    }
    assert!(conflicts > 0, "nothing was forgotten");
    assert_eq!(read(database.as_ref(), "select count(*) from t").await.rows, [[Value::Integer(2)]]);
}
