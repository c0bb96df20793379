//! PostgreSQL: the conformance suite and what only PostgreSQL can get wrong, on a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "postgres/borders.rs"]
mod borders;
#[path = "postgres/commits.rs"]
mod commits;
#[path = "postgres/crash.rs"]
mod crash;
#[path = "postgres/ground.rs"]
mod ground;
#[path = "postgres/guests.rs"]
mod guests;
#[path = "postgres/keyvalues.rs"]
mod keyvalues;
#[path = "postgres/owners.rs"]
mod owners;
#[path = "postgres/places.rs"]
mod places;
#[path = "postgres/poison.rs"]
mod poison;
#[path = "postgres/readers.rs"]
mod readers;
#[path = "postgres/relays.rs"]
mod relays;
#[path = "postgres/restores.rs"]
mod restores;
mod suite;
#[path = "postgres/tables.rs"]
mod tables;
#[path = "postgres/trips.rs"]
mod trips;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use ground::Ground;
use keylane_effects::{DatabaseConfig, open};
use keylane_test_support::Checks;
use suite::Words;

/// Checks that run side by side: each has a dozen connections of the server's hundred.
const ABREAST: usize = 4;

const WORDS: Words = Words {
    bytes: "BYTEA",
    timestamp: "TIMESTAMPTZ",
    decimal: "NUMERIC",
    takes_any_kind: false,
    counting_key: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    host_tables: &["keylane.claim", "keylane . fence", "\"keylane\".meta", "keylane.\"outbox\""],
    refused: &[
        "COPY t TO '/tmp/x'",
        "SELECT * INTO u FROM t",
        "SELECT 1 AS insert INTO u",
        "SELECT a insert INTO TEMP u FROM t",
        "SELECT (1) merge INTO u",
        "WITH x AS (SELECT 1) SELECT (1) insert INTO u",
        "WITH x AS (SELECT 1) (SELECT 1 insert INTO u)",
        "SET synchronous_commit = off",
        "SET ROLE NONE",
        "RESET ALL",
        "NOTIFY x",
        "LISTEN x",
        "DO 'BEGIN END'",
        "LOCK TABLE t",
        "CALL p()",
        "PREPARE p AS SELECT 1",
        "DISCARD ALL",
        "SELECT set_config('role', 'none', true)",
        "SELECT pg_catalog.set_config('role', 'none', true)",
        "SELECT current_setting('role')",
        "SELECT * FROM pg_settings",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_sleep(1)",
        "SELECT query_to_xml('SELECT 1', true, true, '')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT version()",
        "SELECT ('SELECT ''a''::tsvector'::text).ts_stat",
        "SELECT x.\"ts_stat\" FROM unnest(ARRAY['SELECT ''a''::tsvector']) x",
        "SELECT ('t'::text).to_regclass::text",
        "SELECT * FROM information_schema.tables",
    ],
};

/// A database of its own for one function of the suite, opened by two hosts at once.
async fn pair(ground: &Ground<'_>) -> suite::Ground {
    pair_of(&ground.config()).await
}

/// A database opened by two hosts at once.
async fn pair_of(config: &DatabaseConfig) -> suite::Ground {
    let (here, there) = tokio::join!(open(config), open(config));
    suite::Ground { here: here.unwrap(), there: there.unwrap(), words: WORDS }
}

type Check<'a> = Pin<Box<dyn Future<Output = Checked> + 'a>>;

/// What became of a check: they share one server and run side by side.
struct Checked {
    name: &'static str,
    took: Duration,
    result: anyhow::Result<()>,
}

async fn named(name: &'static str, check: impl Future<Output = ()>) -> Checked {
    let begun = Instant::now();
    let ended = AssertUnwindSafe(check).catch_unwind().await;
    let result = ended.map_err(|_panic| anyhow::anyhow!("it panicked; the message stands above"));
    Checked { name, took: begun.elapsed(), result }
}

/// Made in a frame of its own: the futures of a list would not all fit on the stack beside each other.
fn check<'a, F: Future<Output = ()> + 'a>(name: &'static str, check: impl FnOnce() -> F) -> Named<'a> {
    (name, Box::pin(named(name, check())))
}

macro_rules! conform {
    ($ground:ident; $($room:ident: $($name:ident),+;)+) => {
        vec![$($(check(concat!("suite::", stringify!($room), "::", stringify!($name)), move || async move {
            suite::$room::$name(&pair($ground).await).await;
        })),+),+]
    };
}

macro_rules! own {
    ($ground:ident; $($room:ident: $($name:ident),+;)+) => {
        vec![$($(check(concat!(stringify!($room), "::", stringify!($name)), || $room::$name($ground))),+),+]
    };
}

/// A check by its name.
type Named<'a> = (&'static str, Check<'a>);

/// The suite.
#[rustfmt::skip]
fn conformance<'a>(ground: &'a Ground<'a>) -> Vec<Named<'a>> {
    conform! {
        ground;
        values: every_kind_comes_back, columns_are_named_without_rows, changes_are_counted;
        statements: a_fault_ends_the_run, a_value_of_another_kind_is_the_columns_to_judge, a_late_statement_is_stopped, a_long_answer_is_refused, a_long_read_leaves_the_connection_usable, statements_that_are_not_for_guests_are_refused, the_read_address_cannot_write, a_run_reads_its_own_writes;
        keyvalue: values_are_part_of_the_run, pages_and_batches_are_bounded, guests_statements_do_not_reach_them, values_of_any_bytes_come_back, a_failed_event_leaves_no_value, numbers_that_runs_change_at_once_add_up;
        appends: many_calls_write_what_each_alone_would, a_statement_that_names_the_table_sees_them, a_refused_row_is_the_fault_of_its_event, a_failed_event_takes_its_rows_along, more_than_may_wait_is_sent_before, what_is_no_plain_insert_is_refused, rows_of_a_table_go_in_the_order_of_the_calls, tables_go_in_the_order_in_which_each_came_first;
        savepoints: only_the_failed_event_is_undone, a_savepoint_serves_more_than_once, a_swallowed_error_cannot_be_committed, a_deferred_key_is_the_fault_of_its_event;
        ownership: a_former_epoch_is_refused, a_count_without_its_random_number_is_refused, a_take_waits_for_the_open_run_and_reads_its_claims, a_start_is_settled_once, a_topic_made_again_starts_at_0, a_renamed_fleet_is_refused_until_it_adopts_the_progress, the_identity_is_the_databases_own, another_cluster_is_refused;
        replays: what_had_ended_is_done_again_under_the_next_number, the_open_run_is_waited_for,
            nothing_is_passed_over_without_a_word, a_take_beside_a_replay_keeps_no_former_number;
        pruning: the_floor_rises_and_claims_go, a_position_is_kept_beside_the_floor, a_batch_takes_the_former_position_away, a_batch_is_bounded, a_zombie_cannot_pass_a_pruned_claim, an_offset_below_the_floor_has_ended;
        commits: an_event_is_claimed_once, outputs_and_claims_need_no_statement, a_dropped_run_leaves_nothing, an_unknown_commit_is_found_out;
        migrations: hosts_at_once_migrate_once, a_changed_history_is_refused, handlers_have_histories_of_their_own, a_failing_file_leaves_nothing, a_migration_reaches_only_its_own;
        claims: a_partition_is_taken_where_it_stands, a_letter_is_buried_once, a_former_owner_ends_nothing, a_database_of_another_cluster_is_refused, a_topic_without_an_id_is_refused;
        relay: one_that_dies_at_any_step_is_followed, one_that_is_stopped_at_any_step_does_no_harm, one_relays_and_the_other_stands_by, one_that_counts_for_long_goes_on_relaying;
        refusals: a_refused_record_holds_up_its_key_alone, a_dropped_row_lets_its_key_go_on, a_missing_topic_holds_up_its_records_alone, a_refused_mail_waits_alone, one_bad_record_among_many_is_found;
        mails: a_planned_stop_waits_for_a_slow_mail, each_mail_is_noted_when_it_is_taken, a_mail_is_noted_as_soon_as_the_database_is_back, a_mail_is_noted_by_its_message_id_too, refused_mails_keep_no_other_waiting, a_full_mailbox_is_no_trouble_of_the_server, a_mail_without_a_key_goes_out_once, that_mails_cannot_leave_is_told, a_machine_that_slept_begins_no_mail;
        stops: what_lies_in_the_outbox_leaves_at_a_stop, a_stop_goes_on_for_a_while_only, a_stop_begins_no_more_mails, rows_behind_many_that_wait_leave_at_a_stop;
        setbacks: what_was_set_back_stops_the_relay, a_running_relay_heeds_a_reset, a_reset_repeats_no_batch, a_numbering_of_the_future_is_passed_by_one_reset, an_outbox_is_one_fleets_and_one_hosts;
        wakes: rows_of_this_process_are_sent_without_a_look, a_letter_of_this_process_is_sent_without_a_look, a_row_committed_behind_a_look_is_sent;
    }
}

/// What only PostgreSQL has.
#[rustfmt::skip]
fn postgres_only<'a>(ground: &'a Ground<'a>) -> Vec<Named<'a>> {
    own! {
        ground;
        guests: values_come_back, a_statement_is_prepared_for_its_kinds, failures_are_told_apart, limits_hold, waiting_for_a_lock_is_not_their_time, waiting_for_locks_is_not_their_time, the_hosts_tables_are_out_of_reach, readers_cannot_write;
        borders: a_function_cannot_take_the_hosts_role, values_by_key_do_not_hide_a_taken_role, a_view_that_takes_the_hosts_role_is_found, a_deferred_trigger_fires_as_the_guest, functions_reach_this_database_and_no_other, extensions_that_reach_further_are_refused, names_of_the_handler_are_not_taken_for_the_hosts, temporary_tables_are_not_taken_for_the_catalogues, temporary_tables_are_not_taken_for_the_handlers, a_function_that_will_not_be_stopped_is_ended, a_function_cannot_change_how_texts_are_read, a_function_cannot_put_its_own_in_place_of_the_hosts_statements, a_superuser_is_refused, an_unknown_user_is_told_so, a_commit_that_is_not_pressed_to_the_disk_is_refused;
        commits: a_run_is_written_whole, a_swallowed_error_is_void, a_savepoint_saves_the_rest, conflicts_are_the_hosts, a_deadlock_is_the_hosts_to_redo, a_lock_that_is_not_had_is_told_apart_from_a_conflict, what_the_server_says_of_itself_is_told_apart_from_a_loss, a_refused_commit_keeps_its_connection, a_deferred_constraint_is_refused, migrations_run_once, a_migration_that_is_cut_off_may_be_tried_again;
        owners: a_former_epoch_is_refused, a_take_reads_what_it_waited_for, a_take_ends_who_holds_on, a_take_is_granted_though_runs_keep_coming, an_idle_run_is_ended_and_nobody_is_charged, a_cancelled_statement_holds_nothing, start_is_settled_once, pruning_raises_the_floor, what_has_ended_is_told_while_runs_go_on, a_commit_under_way_is_waited_for;
        keyvalues: what_is_set_amid_a_change_is_not_lost, what_is_deleted_amid_a_change_is_not_lost, what_is_under_way_is_read_before_a_change, what_is_set_amid_a_change_of_nothing_is_not_lost, what_is_set_amid_a_deletion_of_nothing_is_not_lost, an_undone_event_has_found_nothing_missing;
        places: another_database_in_its_place_is_refused, a_copy_of_another_clusters_is_refused;
        poison: a_run_that_is_made_to_read_only_is_its_events_fault, what_a_function_raises_is_its_events_fault, what_a_late_trigger_raises_is_its_events_fault, a_function_that_forgets_what_is_prepared_harms_nobody;
        readers: a_late_read_is_stopped_at_its_own_server, a_reader_that_cannot_be_asked_is_told_apart_from_its_statement, a_reader_makes_nothing_and_needs_only_the_guests_role, a_reader_goes_on_after_its_table_has_changed, a_read_begins_as_a_standby_lets_it;
        relays: rows_that_are_seen_late_are_sent, one_that_is_frozen_anywhere_does_no_harm, a_session_that_keeps_the_relays_row_is_ended, takes_that_wait_do_not_hold_up_the_relay, what_other_tools_are_told_is_in_nobodys_way, rows_that_nobody_tells_of_are_found_by_looking, a_clock_that_was_set_back_keeps_the_outbox_from_nobody, a_clock_that_was_set_back_has_no_row_wait_for_it;
        tables: tables_of_another_version_are_refused_and_left_as_they_are, an_ending_is_claimed_as_what_it_is, a_late_call_for_keys_is_stopped;
        trips: a_run_costs_no_more_messages_than_by_hand;
        restores: a_copy_in_its_place_ends_ownership, rows_read_back_end_ownership, rows_older_by_one_batch_stop_the_relay, rows_with_the_last_batch_under_way_are_recognised, rows_older_than_a_batch_are_not_taken_for_sent, a_reset_in_older_rows_counts_no_more;
    }
}

/// What is done to the server itself, one after another.
#[rustfmt::skip]
fn to_the_server<'a>(ground: &'a Ground<'a>) -> Vec<Named<'a>> {
    own! {
        ground;
        crash: a_killed_server_loses_nothing, commits_cut_off_by_a_kill_are_found_out, a_function_cannot_weaken_the_commit, a_commit_waits_for_the_disk, a_server_that_answers_nothing_is_given_up;
        relays: a_killed_server_has_nothing_sent_twice;
        restores: a_server_started_again_ends_ownership;
    }
}

/// Those that the filter lets run.
fn wanted<'a>(checks: &Checks, all: impl Iterator<Item = Named<'a>>) -> Vec<Check<'a>> {
    all.filter(|(name, _)| checks.wants(name)).map(|(_, check)| check).collect()
}

fn on_a_real_server(checks: &mut Checks) -> anyhow::Result<()> {
    let Some(server) = keylane_test_support::postgres("the checks of the PostgreSQL driver")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let ground = Ground { server: &server };
        let abreast = conformance(&ground).into_iter().chain(postgres_only(&ground));
        let (abreast, alone) = (wanted(checks, abreast), wanted(checks, to_the_server(&ground).into_iter()));
        let mut ended = futures::stream::iter(abreast).buffer_unordered(ABREAST);
        while let Some(one) = ended.next().await {
            checks.report(one.name, one.took, one.result);
        }
        for check in alone {
            let one = check.await;
            checks.report(one.name, one.took, one.result);
        }
    });
    Ok(())
}

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    if let Err(error) = on_a_real_server(&mut checks) {
        checks.report("a server", Duration::ZERO, Err(error));
    }
    checks.finish()
}
