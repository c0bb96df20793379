//! SQLite: the conformance suite, and what only SQLite has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "sqlite/borders.rs"]
mod borders;
#[path = "sqlite/restores.rs"]
mod restores;
mod suite;
#[path = "sqlite/tables.rs"]
mod tables;
#[path = "sqlite/troubles.rs"]
mod troubles;
#[path = "sqlite/turns.rs"]
mod turns;

use std::time::Duration;

use keylane_effects::{BeginError, DatabaseConfig, DatabaseError, EndedAs, OutboxRow, adopt, open};
use sqlx::{ConnectOptions, Row};
use suite::{Ground, LONG, Words};
use tempfile::TempDir;

const WORDS: Words = Words {
    bytes: "BLOB",
    timestamp: "TIMESTAMP",
    decimal: "TEXT",
    takes_any_kind: true,
    counting_key: "INTEGER PRIMARY KEY AUTOINCREMENT",
    host_tables: &[
        "keylane_claim",
        "keylane_fence",
        "keylane_keyvalue",
        "main.keylane_meta",
        "\"keylane_outbox\"",
    ],
    refused: &[
        "PRAGMA journal_mode = DELETE",
        "ATTACH DATABASE '/tmp/other.db' AS other",
        "SELECT * FROM pragma_table_info('t')",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM main.sqlite_master",
        "SELECT load_extension('x')",
        "SELECT fts3_tokenizer('simple')",
        "INSERT OR ROLLBACK INTO t VALUES (1)",
        "SELECT sqlite_version()",
        "SELECT rtreecheck('t')",
        "SELECT * FROM dbstat",
        "VACUUM INTO '/tmp/copy.db'",
    ],
};

fn config(folder: &TempDir) -> DatabaseConfig {
    DatabaseConfig::sqlite(&folder.path().join("effects.db"))
}

async fn ground(folder: &TempDir) -> Ground {
    let config = config(folder);
    let (here, there) = tokio::join!(open(&config), open(&config));
    Ground { here: here.unwrap(), there: there.unwrap(), words: WORDS }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_frozen_anywhere_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let hasty = DatabaseConfig { lock_wait: Duration::from_millis(100), ..config(&folder) };
    let (here, there) = (open(&hasty).await.unwrap(), open(&hasty).await.unwrap());
    let onlooker = open(&config(&folder)).await.unwrap();
    let ground = Ground { here, there, words: WORDS };
    suite::frozen::one_that_is_frozen_anywhere_does_no_harm(&ground, &onlooker).await;
}

/// Runs functions of the suite, each on a file of its own.
macro_rules! conform {
    ($($room:ident: $($name:ident),+;)+) => {
        $(mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                crate::suite::$room::$name(&super::ground(&folder).await).await;
            })+
        })+
    };
}

conform! {
    values: every_kind_comes_back, columns_are_named_without_rows, changes_are_counted;
    statements: a_fault_ends_the_run, a_value_of_another_kind_is_the_columns_to_judge, a_late_statement_is_stopped, a_long_answer_is_refused,
        a_long_read_leaves_the_connection_usable, statements_that_are_not_for_guests_are_refused,
        the_read_address_cannot_write, a_run_reads_its_own_writes;
    appends: many_calls_write_what_each_alone_would, a_statement_that_names_the_table_sees_them,
        a_refused_row_is_the_fault_of_its_event, a_failed_event_takes_its_rows_along,
        more_than_may_wait_is_sent_before, what_is_no_plain_insert_is_refused, rows_of_a_table_go_in_the_order_of_the_calls, tables_go_in_the_order_in_which_each_came_first;
    savepoints: only_the_failed_event_is_undone, a_savepoint_serves_more_than_once,
        a_swallowed_error_cannot_be_committed, a_deferred_key_is_the_fault_of_its_event;
    keyvalue: values_are_part_of_the_run, pages_and_batches_are_bounded, guests_statements_do_not_reach_them,
        values_of_any_bytes_come_back, a_failed_event_leaves_no_value, numbers_that_runs_change_at_once_add_up;
    ownership: a_former_epoch_is_refused, a_count_without_its_random_number_is_refused,
        a_take_waits_for_the_open_run_and_reads_its_claims, a_start_is_settled_once,
        a_topic_made_again_starts_at_0, a_renamed_fleet_is_refused_until_it_adopts_the_progress, the_identity_is_the_databases_own, another_cluster_is_refused;
    replays: what_had_ended_is_done_again_under_the_next_number, the_open_run_is_waited_for,
        nothing_is_passed_over_without_a_word, a_take_beside_a_replay_keeps_no_former_number;
    pruning: the_floor_rises_and_claims_go, a_position_is_kept_beside_the_floor, a_batch_takes_the_former_position_away, a_batch_is_bounded,
        a_zombie_cannot_pass_a_pruned_claim, an_offset_below_the_floor_has_ended;
    commits: an_event_is_claimed_once, outputs_and_claims_need_no_statement, a_dropped_run_leaves_nothing,
        an_unknown_commit_is_found_out;
    migrations: hosts_at_once_migrate_once, a_changed_history_is_refused,
        handlers_have_histories_of_their_own, a_failing_file_leaves_nothing, a_migration_reaches_only_its_own;
    claims: a_partition_is_taken_where_it_stands, a_letter_is_buried_once, a_former_owner_ends_nothing,
        a_database_of_another_cluster_is_refused,
        a_topic_without_an_id_is_refused;
    relay: one_that_dies_at_any_step_is_followed, one_that_is_stopped_at_any_step_does_no_harm,
        one_relays_and_the_other_stands_by, one_that_counts_for_long_goes_on_relaying;
    refusals: a_refused_record_holds_up_its_key_alone, a_dropped_row_lets_its_key_go_on,
        a_missing_topic_holds_up_its_records_alone, a_refused_mail_waits_alone, one_bad_record_among_many_is_found;
    mails: a_planned_stop_waits_for_a_slow_mail, each_mail_is_noted_when_it_is_taken,
        a_mail_is_noted_as_soon_as_the_database_is_back, a_mail_is_noted_by_its_message_id_too, refused_mails_keep_no_other_waiting, a_full_mailbox_is_no_trouble_of_the_server,
        a_mail_without_a_key_goes_out_once, that_mails_cannot_leave_is_told, a_machine_that_slept_begins_no_mail;
    stops: what_lies_in_the_outbox_leaves_at_a_stop, a_stop_goes_on_for_a_while_only, a_stop_begins_no_more_mails,
        rows_behind_many_that_wait_leave_at_a_stop;
    setbacks: what_was_set_back_stops_the_relay, a_running_relay_heeds_a_reset, a_reset_repeats_no_batch,
        a_numbering_of_the_future_is_passed_by_one_reset, an_outbox_is_one_fleets_and_one_hosts;
    wakes: rows_of_this_process_are_sent_without_a_look, a_letter_of_this_process_is_sent_without_a_look,
        a_row_committed_behind_a_look_is_sent;
}

/// A connection of nobody's, to look at the host's tables from outside.
async fn outside(folder: &TempDir) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("effects.db"));
    options.connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_nobody_tells_of_are_found_by_looking() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let insert = async |row: OutboxRow| {
        let text = "INSERT INTO keylane_outbox (stream, event_offset, ordinal, kind, topic, key, value, headers) \
                    SELECT id, $1, 0, 1, $2, $3, $4, $5 FROM keylane_stream";
        let query = sqlx::query(text).bind(row.event_offset).bind(row.topic).bind(row.key);
        query.bind(row.value).bind(row.headers).execute(&mut outside(&folder).await).await.unwrap();
    };
    suite::wakes::rows_that_nobody_tells_of_are_found_by_looking(&ground, insert).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_keeps_the_outbox_from_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let set_back = async |time: Duration| {
        let text = "UPDATE keylane_relay SET until_us = until_us + $1";
        let time = i64::try_from(time.as_micros()).unwrap();
        sqlx::query(text).bind(time).execute(&mut outside(&folder).await).await.unwrap();
    };
    suite::setbacks::a_clock_that_was_set_back_keeps_the_outbox_from_nobody(&ground, set_back).await;
}

#[tokio::test]
async fn a_clock_that_was_set_back_has_no_row_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let set_back = async |time: Duration| {
        let text = "UPDATE keylane_outbox SET not_before_us = not_before_us + $1";
        let time = i64::try_from(time.as_micros()).unwrap();
        sqlx::query(text).bind(time).execute(&mut outside(&folder).await).await.unwrap();
    };
    suite::setbacks::a_clock_that_was_set_back_has_no_row_wait_for_it(&ground, set_back).await;
}

#[tokio::test]
async fn what_a_run_wrote_lies_in_the_outbox_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let fence = suite::owner(&*ground.here, "CREATE TABLE t (a BIGINT)").await;
    let run = ground.here.begin(&fence).await.unwrap();
    // As they were handled: what came of the one may have caused the other.
    let outbox = [(5, 0), (5, 1), (3, 0)].map(|(offset, ordinal)| suite::commits::output(offset, ordinal));
    run.finish(&outbox, &[(5, EndedAs::DeadLettered), (3, EndedAs::Done)], LONG).await.unwrap();
    let mut outside = outside(&folder).await;
    let text = "SELECT event_offset, ordinal, kind, key, value, parked FROM keylane_outbox ORDER BY id";
    let rows = sqlx::query(text).fetch_all(&mut outside).await.unwrap();
    let places: Vec<(i64, i32, i32)> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    assert_eq!(places, [(5, 0, 1), (5, 1, 2), (3, 0, 1)]);
    let mail = &rows[1];
    assert_eq!(mail.get::<Vec<u8>, _>(3), [0, 255]);
    assert_eq!((mail.get::<Option<Vec<u8>>, _>(4), mail.get::<i64, _>(5)), (None, 0));
    let claims = "SELECT event_offset, ended_as FROM keylane_claim ORDER BY 1";
    let claims = sqlx::query(claims).fetch_all(&mut outside).await.unwrap();
    let claims: Vec<(i64, i32)> = claims.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(claims, [(3, 1), (5, 2)]);
}

#[tokio::test]
async fn a_file_of_another_machine_is_refused_until_it_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let machine = |name: &str| DatabaseConfig { machine: Some(name.to_owned()), ..config(&folder) };
    let identity = open(&machine("one")).await.unwrap().identity().clone();
    let refused = open(&machine("two")).await.err();
    assert!(matches!(refused, Some(DatabaseError::OtherMachine { .. })), "{refused:?}");
    adopt(&machine("two")).await.unwrap();
    assert_eq!(open(&machine("two")).await.unwrap().identity(), &identity);
    assert!(open(&machine("one")).await.is_err());
}

#[tokio::test]
async fn a_trigger_that_rolls_back_ends_the_run_and_nothing_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    let sql = "CREATE TABLE t (a BIGINT); CREATE TRIGGER r BEFORE INSERT ON t WHEN new.a = 13 \
               BEGIN SELECT RAISE(ROLLBACK, 'unlucky'); END;";
    let fence = suite::owner(database, sql).await;
    let run = database.begin(&fence).await.unwrap();
    let ((), run) = run.savepoint().await.unwrap();
    let run = suite::did(database, run, "INSERT INTO t VALUES (1)", Vec::new()).await;
    let failed = suite::execute(database, run, "INSERT INTO t VALUES (13)", Vec::new()).await.err().unwrap();
    assert!(failed.transaction.is_none(), "the savepoint went with the transaction");
    assert_eq!(suite::kept(database).await, Vec::<i64>::new());
    suite::commit_event(database, &fence, 2).await;
    assert_eq!(suite::kept(database).await, [2]);
}

#[tokio::test]
async fn a_trigger_reaches_no_further_than_the_guest() {
    let folder = tempfile::tempdir().unwrap();
    let ground = ground(&folder).await;
    let database = &*ground.here;
    let sql = format!("CREATE TABLE t (id {}, a BIGINT)", WORDS.counting_key);
    let fence = suite::owner(database, &sql).await;
    suite::commit_event(database, &fence, 1).await;
    for hostile in [
        "CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM keylane_claim; END;",
        "CREATE TRIGGER x AFTER INSERT ON keylane_claim BEGIN DELETE FROM t; END;",
        "CREATE VIEW t2 AS SELECT * FROM keylane_claim;",
    ] {
        let migrations = tempfile::tempdir().unwrap();
        suite::write_migration(migrations.path(), "1_x.sql", hostile);
        let made = database.migrate("hostile", migrations.path()).await;
        let run = database.begin(&suite::take(database).await.fence).await.unwrap();
        let text = if hostile.contains("VIEW") { "SELECT * FROM t2" } else { "INSERT INTO t (a) VALUES (9)" };
        let ran = suite::execute(database, run, text, Vec::new()).await;
        assert!(made.is_err() || ran.is_err(), "{hostile}");
    }
    assert_eq!(suite::take(database).await.ended, [1]);
}

#[tokio::test]
async fn another_process_that_holds_the_writer_is_waited_for_and_then_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.lock_wait = Duration::from_millis(300);
    let database = open(&config).await.unwrap();
    let fence = suite::owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    let mut outside = outside(&folder).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut outside).await.unwrap();
    let refused = database.begin(&fence).await.err();
    assert!(matches!(&refused, Some(BeginError::Database(error)) if error.can_retry()), "{refused:?}");
    let taken = database.take(&suite::key(), Duration::from_millis(300)).await;
    assert!(matches!(taken, Err(DatabaseError::Unavailable { .. })), "{taken:?}");
    sqlx::query("ROLLBACK").execute(&mut outside).await.unwrap();
    suite::commit_event(&*database, &fence, 1).await;
    assert_eq!(suite::kept(&*database).await, [1]);
}

/// Where the other process finds the file; set for it alone.
const HELD_FILE: &str = "KEYLANE_TEST_HELD_FILE";

#[test]
#[ignore = "it is the other process of the test below, which starts it"]
fn another_process() {
    let file = std::path::PathBuf::from(std::env::var_os(HELD_FILE).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = open(&DatabaseConfig::sqlite(&file)).await.unwrap();
        let fence = suite::take(&*database).await.fence;
        let run = database.begin(&fence).await.unwrap();
        let run = suite::did(&*database, run, "INSERT INTO t VALUES (666)", Vec::new()).await;
        std::fs::write(file.with_extension("held"), "").unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        run.rollback().await;
    });
}

#[tokio::test]
async fn a_stopped_host_is_named_and_once_killed_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.lock_wait = Duration::from_millis(300);
    let database = open(&config).await.unwrap();
    let fence = suite::owner(&*database, "CREATE TABLE t (a BIGINT)").await;
    suite::commit_event(&*database, &fence, 1).await;
    let mut other = std::process::Command::new(std::env::current_exe().unwrap());
    let other = other.args(["--exact", "another_process", "--ignored"]);
    let other = other.env(HELD_FILE, folder.path().join("effects.db"));
    let mut other = other.stdout(std::process::Stdio::null()).spawn().unwrap();
    let until = std::time::Instant::now() + LONG;
    while !folder.path().join("effects.held").exists() {
        assert!(std::time::Instant::now() < until, "the other process did not begin");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = database.take(&suite::key(), Duration::from_millis(500)).await;
    other.kill().unwrap();
    let process = other.id().to_string();
    other.wait().unwrap();
    let said = refused.unwrap_err().to_string();
    assert!(said.contains(&format!("process {process} holds the writer")), "{said}");
    assert!(matches!(database.begin(&fence).await.err(), Some(BeginError::NotOwner)));
    let taken = suite::take(&*database).await;
    assert_eq!(taken.ended, [1]);
    suite::commit_event(&*database, &taken.fence, 2).await;
    assert_eq!(suite::kept(&*database).await, [1, 2]);
}
