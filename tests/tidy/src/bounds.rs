//! Every bound of the rooms that run handlers can be seen from outside: it has a metric that shows how near
//! it is or how often it was reached, or a reason why none would say more. A new bound is written down here.

use crate::repository::{File, assert_clean, rust_files};
use crate::source::{code_only, production};

/// The rooms; the other rooms measure theirs and say so in their own tests.
const ROOMS: [&str; 4] =
    ["host/capability/src/", "host/guest/src/", "host/keylane/src/", "host/deployment/src/manifest/"];
/// Parts of them that run no handlers of anybody.
const LEFT_OUT: [&str; 2] = ["host/keylane/src/demo/", "host/keylane/src/dlq/"];
/// Structs whose fields are bounds.
const STRUCTS: [&str; 3] = ["CapabilityLimits", "HostLimits", "Limits"];

/// How a bound is seen.
#[derive(Clone, Copy)]
enum Seen {
    /// By this metric.
    By(&'static str),
    /// Not, because of this.
    Not(&'static str),
}
use Seen::{By, Not};

const LIMIT: Seen = By("keylane_limits_reached_total");
const SLOTS: Seen = By("keylane_slots_used");
const FAILED: Seen = By("keylane_attempts_failed_total");
const A_TIME: Seen = Not("it bounds a wait, whose end is told to whoever waits");
const A_TEXT: Seen = Not("it cuts a text to what a line of the log or a header may hold");
const OWN_CALL: Seen = Not("it bounds one call of the guest, which goes on with the next piece");
const AT_START: Seen = Not("it is looked at once, before anything runs, and refused in words");
const A_COMMAND: Seen = Not("it bounds one command of an operator, who is told");

/// Every bound by its name, and how it is seen.
const BOUNDS: &[(&str, Seen)] = &[
    ("ANSWER_BYTES_MAX", A_COMMAND),
    ("ANSWER_LIMIT", A_COMMAND),
    ("BEGIN_MAX", A_TIME),
    ("BODY_BYTES_MAX", Not("a body that is larger is answered with 413 by whoever reads it")),
    ("COMPONENT_BYTES_MAX", AT_START),
    ("CONFLICTS_MAX", By("keylane_run_conflicts_total")),
    ("CONFLICT_RUNS_MAX", FAILED),
    ("CONNECT_LIMIT", A_COMMAND),
    ("EVENTS_MAX", Not("it bounds a memory of losses; past it they are counted anew")),
    ("FINISH_MAX", A_TIME),
    ("HEADER_BYTES_MAX", Not("what is larger is refused to the handler when it sets a header")),
    ("ID_BYTES_MAX", A_TEXT),
    ("INSTANCES_MAX", FAILED),
    ("LOCK_WAIT_MAX", A_TIME),
    ("LOOK_LIMIT", A_TIME),
    ("LOSSES_MAX", FAILED),
    ("MAIL_LIMIT", FAILED),
    ("MEMORIES_MAX", FAILED),
    ("OUTBOX_BYTES_MAX", By("keylane_run_outbox_full_total")),
    ("OWNER_LIMIT", A_TIME),
    ("PASSES_MAX", By("keylane_runs_undone_total")),
    ("RANDOM_BYTES_MAX", FAILED),
    ("REASON_BYTES_MAX", A_TEXT),
    ("REQUESTS_MAX", By("keylane_admin_requests")),
    ("ROLLBACK_MAX", By("keylane_instances_dropped_total")),
    ("SAVEPOINTS_MAX", By("keylane_runs_undone_total")),
    ("SAVEPOINT_MAX", A_TIME),
    ("TABLES_MAX", FAILED),
    ("TEXTS_MAX", Not("past it the statements that are known are forgotten and checked anew")),
    ("TEXT_BYTES_MAX", Not("a longer statement is checked each time")),
    ("TRACE_STATE_LIMIT_BYTES", Not("what is longer is not passed on, as the standard allows")),
    ("TURN_LIMIT", A_TIME),
    ("UNACKNOWLEDGED_MAX", By("keylane_run_deliveries_unacknowledged")),
    ("UNDER_WAY_MAX", By("keylane_mails_under_way")),
    ("WRITE_MAX", OWN_CALL),
    ("CapabilityLimits.statement_bytes", LIMIT),
    ("CapabilityLimits.parameters", LIMIT),
    ("CapabilityLimits.parameter_bytes", LIMIT),
    ("CapabilityLimits.result_bytes", LIMIT),
    ("CapabilityLimits.record_bytes", LIMIT),
    ("CapabilityLimits.held_bytes", By("keylane_records_held_bytes")),
    ("CapabilityLimits.headers", LIMIT),
    ("CapabilityLimits.key_bytes", LIMIT),
    ("CapabilityLimits.value_bytes", LIMIT),
    ("CapabilityLimits.keys", LIMIT),
    ("CapabilityLimits.mail_bytes", LIMIT),
    ("CapabilityLimits.log_lines", By("keylane_log_lines_dropped_total")),
    ("CapabilityLimits.log_line_bytes", A_TEXT),
    ("CapabilityLimits.handles", FAILED),
    ("HostLimits.partition_records", By("keylane_buffered_records")),
    ("HostLimits.partition_bytes", By("keylane_buffered_bytes")),
    ("HostLimits.host_bytes", By("keylane_host_buffered_bytes")),
    ("HostLimits.drain", A_TIME),
    ("HostLimits.revoke_drain", A_TIME),
    ("Limits.memory_bytes", FAILED),
    ("Limits.table_elements", FAILED),
    ("Limits.time", FAILED),
    ("Limits.host_call", FAILED),
    ("Limits.concurrency", SLOTS),
    ("Limits.run_events", By("keylane_run_events")),
    ("Limits.slice", By("keylane_oldest_run_seconds")),
    ("Limits.stuck_after", By("keylane_stuck_runs_total")),
];

/// The bounds that a file names: constants, and the fields of structs that are nothing but bounds.
fn bounds(file: &File) -> Vec<String> {
    let in_a_room = ROOMS.iter().any(|room| file.path.starts_with(room));
    let left_out = LEFT_OUT.iter().any(|part| file.path.starts_with(part)) || file.path.ends_with("tests.rs");
    if !in_a_room || left_out {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let code = production(&code);
    let names = code.split("const ").skip(1).filter_map(|rest| rest.split_once(':')).map(|(name, _)| name);
    let is_bound =
        |name: &&str| name.ends_with("_MAX") || name.ends_with("_LIMIT") || name.contains("_LIMIT_");
    let constants = names.filter(is_bound).map(str::to_owned);
    constants.chain(STRUCTS.iter().flat_map(|name| fields(code, name))).collect()
}

fn fields(code: &str, name: &str) -> Vec<String> {
    let opening = format!("struct {name} {{");
    let body = code.split_once(&opening).and_then(|(_, rest)| rest.split_once('}')).map(|(body, _)| body);
    let fields = body.unwrap_or_default().lines().filter_map(|line| line.trim().split_once(": "));
    fields.map(|(field, _)| format!("{name}.{}", field.rsplit(' ').next().unwrap_or(field))).collect()
}

/// Bounds that are not written down, and what is written down and not there.
fn findings(files: &[File], written: &[(&str, Seen)]) -> Vec<String> {
    let named: Vec<(String, &File)> =
        files.iter().flat_map(|file| bounds(file).into_iter().map(move |bound| (bound, file))).collect();
    let unknown = named.iter().filter(|(bound, _)| !written.iter().any(|(known, _)| known == bound));
    let unknown = unknown.map(|(bound, file)| {
        format!(
            "{}: {bound} has neither metric nor reason; write it down in tests/tidy/src/bounds.rs",
            file.path
        )
    });
    let gone = written.iter().filter(|(known, _)| !named.iter().any(|(bound, _)| bound == known));
    let gone = gone.map(|(known, _)| format!("there is no bound {known}"));
    let unmeasured = written.iter().filter_map(|(known, seen)| match seen {
        By(metric) if !is_kept(metric, files) => Some(format!("{known}: nobody keeps {metric}")),
        By(_) => None,
        Not(reason) => (reason.len() < 20).then(|| format!("{known}: {reason:?} is no reason")),
    });
    unknown.chain(gone).chain(unmeasured).collect()
}

/// Whether the host keeps a metric of this name.
fn is_kept(metric: &str, files: &[File]) -> bool {
    let name = format!("\"{metric}\"");
    let of_the_host = |file: &&File| file.path.starts_with("host/") && file.path.contains("/src/");
    files.iter().filter(of_the_host).any(|file| file.text.contains(&name))
}

#[test]
fn a_bound_that_nobody_sees_is_found() {
    let code = "const A_MAX: usize = 1;\npub(crate) const B_LIMIT: u8 = 2;\nconst OTHER: u8 = 3;\n\
                pub struct Limits {\n    /// x: y\n    pub c: u8,\n    pub(crate) d: u8,\n}\n\
                fn f() { gauge!(\"keylane_a\") }\n#[cfg(test)]\nmod tests {\nconst T_MAX: u8 = 1; }";
    let files = [File::fixture("host/guest/src/a.rs", code), File::fixture("host/kafka/src/a.rs", code)];
    let reason = Not("it is only an example");
    let all = [("A_MAX", By("keylane_a")), ("B_LIMIT", reason), ("Limits.c", reason), ("Limits.d", reason)];
    assert_eq!(findings(&files, &all), Vec::<String>::new());
    assert_eq!(findings(&files, &all[1..]).len(), 1);
    assert_eq!(findings(&files, &all[..3]).len(), 1);
    assert_eq!(findings(&files[1..], &all[..1]), ["there is no bound A_MAX"]);
    let wrong = [all[1], all[2], all[3], ("A_MAX", By("keylane_b"))];
    assert_eq!(findings(&files, &wrong), ["A_MAX: nobody keeps keylane_b"]);
}

#[test]
fn every_bound_has_a_metric_or_a_reason() {
    assert_clean(&findings(&rust_files(), BOUNDS));
}
