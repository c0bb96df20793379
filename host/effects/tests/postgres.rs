//! PostgreSQL: the conformance suite and what only PostgreSQL can get wrong, on a real server.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "postgres/commits.rs"]
mod commits;
#[path = "postgres/crash.rs"]
mod crash;
#[path = "postgres/ground.rs"]
mod ground;
#[path = "postgres/guests.rs"]
mod guests;
#[path = "postgres/owners.rs"]
mod owners;
mod suite;
mod support_postgres;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use futures::StreamExt;
use ground::Ground;
use keylane_effects::open;
use suite::Words;

/// Checks that run side by side: each has a dozen connections of the server's hundred.
const ABREAST: usize = 4;

const WORDS: Words = Words {
    bytes: "BYTEA",
    timestamp: "TIMESTAMPTZ",
    decimal: "NUMERIC",
    counting_key: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    host_tables: &["keylane.claim", "keylane . fence", "\"keylane\".meta", "keylane.\"outbox\""],
    refused: &[
        "COPY t TO '/tmp/x'",
        "SELECT * INTO u FROM t",
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
        "SELECT * FROM information_schema.tables",
    ],
};

/// A database of its own for one function of the suite, opened by two hosts at once.
async fn pair(ground: &Ground) -> suite::Ground {
    let config = ground.config().await;
    let (here, there) = tokio::join!(open(&config), open(&config));
    suite::Ground { here: here.unwrap(), there: there.unwrap(), words: WORDS }
}

type Check<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Says which check runs: they share one test, since they share one server.
#[allow(clippy::print_stdout, reason = "this is what a test shows to whoever runs it")]
async fn named(name: &'static str, check: impl Future<Output = ()>) {
    let begun = Instant::now();
    println!("check {name} ...");
    check.await;
    println!("check {name} ... ok ({:.1?})", begun.elapsed());
}

macro_rules! conform {
    ($ground:ident; $($room:ident: $($name:ident),+;)+) => {
        vec![$($(Box::pin(named(concat!(stringify!($room), "::", stringify!($name)), async {
            suite::$room::$name(&pair($ground).await).await;
        })) as Check<'_>),+),+]
    };
}

macro_rules! own {
    ($ground:ident; $($room:ident: $($name:ident),+;)+) => {
        vec![$($(Box::pin(named(concat!(stringify!($room), "::", stringify!($name)),
            $room::$name($ground))) as Check<'_>),+),+]
    };
}

/// The suite.
#[rustfmt::skip]
fn conformance(ground: &Ground) -> Vec<Check<'_>> {
    conform! {
        ground;
        values: every_kind_comes_back, columns_are_named_without_rows, changes_are_counted;
        statements: a_fault_ends_the_run, a_late_statement_is_stopped, a_long_answer_is_refused, a_long_read_leaves_the_connection_usable, statements_that_are_not_for_guests_are_refused, the_read_address_cannot_write, a_run_reads_its_own_writes;
        savepoints: only_the_failed_event_is_undone, a_savepoint_serves_more_than_once, a_swallowed_error_cannot_be_committed, a_deferred_key_is_the_fault_of_its_event;
        ownership: a_former_epoch_is_refused, a_count_without_its_random_number_is_refused, a_take_waits_for_the_open_run_and_reads_its_claims, a_start_is_settled_once, a_topic_made_again_starts_at_0, the_identity_is_the_databases_own;
        pruning: the_floor_rises_and_claims_go, a_batch_is_bounded, a_zombie_cannot_pass_a_pruned_claim, an_offset_below_the_floor_has_ended;
        commits: an_event_is_claimed_once, outputs_and_claims_need_no_statement, a_dropped_run_leaves_nothing, an_unknown_commit_is_found_out;
        migrations: hosts_at_once_migrate_once, a_changed_history_is_refused, handlers_have_histories_of_their_own, a_failing_file_leaves_nothing, a_migration_reaches_only_its_own;
    }
}

/// What only PostgreSQL has.
#[rustfmt::skip]
fn postgres_only(ground: &Ground) -> Vec<Check<'_>> {
    own! {
        ground;
        guests: values_come_back, a_statement_is_prepared_for_its_kinds, failures_are_told_apart, limits_hold, waiting_for_a_lock_is_not_their_time, the_hosts_tables_are_out_of_reach, readers_cannot_write;
        commits: a_run_is_written_whole, a_swallowed_error_is_void, a_savepoint_saves_the_rest, conflicts_are_the_hosts, a_deferred_constraint_is_refused, a_function_cannot_weaken_the_commit, migrations_run_once;
        owners: a_former_epoch_is_refused, a_take_reads_what_it_waited_for, a_take_ends_who_holds_on, a_cancelled_statement_holds_nothing, start_is_settled_once, pruning_raises_the_floor;
    }
}

/// The check that kills the server comes last.
#[test]
fn on_a_real_server() -> anyhow::Result<()> {
    let Some(server) = support_postgres::postgres("the checks of the PostgreSQL driver")? else {
        return Ok(());
    };
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let ground = Ground::new(&server).await;
        let checks = conformance(&ground).into_iter().chain(postgres_only(&ground));
        futures::stream::iter(checks).buffer_unordered(ABREAST).collect::<Vec<()>>().await;
        named("a_killed_server_loses_nothing", crash::a_killed_server_loses_nothing(&ground, &server)).await;
    });
    Ok(())
}
