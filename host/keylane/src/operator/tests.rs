//! What a status client makes of answers that are none: broken off, of another server, or hostile.

use keylane_engine::{Blocking, ClaimsStatus, LaneStatus, Lanes, PartitionStatus};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::api::{HandlerStatus, PartitionReport};

fn lane() -> impl Strategy<Value = LaneStatus> {
    let texts = (option::of(any::<String>()), option::of(any::<String>()), option::of(any::<String>()));
    (any::<(i64, String, u32, usize)>(), any::<Option<u64>>(), texts).prop_map(
        |((offset, state, attempts, queued), next_try_in_ms, (key, class, error))| LaneStatus {
            offset,
            key,
            state,
            attempts,
            next_try_in_ms,
            class,
            error,
            queued,
        },
    )
}

fn lanes() -> impl Strategy<Value = Lanes> {
    any::<[usize; 7]>().prop_map(|[ready, running, parked, paused, burying, skipping, runs]| Lanes {
        ready,
        running,
        parked,
        paused,
        burying,
        skipping,
        runs,
    })
}

fn owner() -> impl Strategy<Value = PartitionStatus> {
    let numbers = any::<(i64, i64, [usize; 5], bool, Option<u64>, Option<(i64, usize)>)>();
    let texts = any::<(String, Option<String>, Option<String>, Option<(i64, Option<String>)>)>();
    (numbers, texts, lanes(), vec(lane(), 0..3)).prop_map(|(numbers, texts, lanes, waiting)| {
        let (watermark, next, sizes, admits, oldest_run_ms, claims) = numbers;
        let [gap_records, gap_units, buffered_records, buffered_bytes, waiting_more] = sizes;
        let (phase, halted, why_not, blocking) = texts;
        let blocking = blocking.map(|(offset, key)| Blocking { offset, key });
        PartitionStatus {
            phase,
            halted,
            watermark,
            next,
            gap_records,
            gap_units,
            claims: claims.map(|(floor, above_floor)| ClaimsStatus { floor, above_floor }),
            admits,
            why_not,
            blocking,
            buffered_records,
            buffered_bytes,
            lanes,
            oldest_run_ms,
            waiting,
            waiting_more,
        }
    })
}

fn report() -> impl Strategy<Value = PartitionReport> {
    let texts = any::<(String, i32, String, Option<String>, Option<String>)>();
    let numbers = any::<(Option<i64>, Option<i64>, Option<u64>)>();
    (texts, numbers, option::of(owner())).prop_map(|(texts, (committed, end, lag), owner)| {
        let (topic, partition, phase, fault, silent) = texts;
        PartitionReport { topic, partition, phase, fault, committed, end, lag, owner, silent }
    })
}

fn status() -> impl Strategy<Value = HostStatus> {
    let handler = (any::<(String, String, Option<String>, Option<String>)>(), vec(report(), 0..3)).prop_map(
        |((name, health, relay, silent), partitions)| HandlerStatus {
            name,
            health,
            relay,
            partitions,
            silent,
        },
    );
    (any::<String>(), any::<String>(), vec(handler, 0..3)).prop_map(|(fleet, phase, handlers)| HostStatus {
        fleet,
        phase,
        handlers,
    })
}

/// A hint must be there, and the answer must not be shown as if it were the host's.
fn not_understood(answer: &str) -> Result<(), TestCaseError> {
    for json in [false, true] {
        let Err(error) = shown(answer, json) else {
            return Err(TestCaseError::fail(format!("{answer:?} is taken for a status")));
        };
        prop_assert!(error.to_string().starts_with("the answer cannot be understood: "), "{}", error);
        prop_assert!(!error.bad_input && error.hint.is_some());
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_no_status(answer: String) {
        not_understood(&answer)?;
    }

    #[test]
    fn a_status_that_breaks_off_is_none(status in status(), part in 0.0..1.0) {
        let whole = serde_json::to_string(&status).unwrap();
        prop_assert!(shown(&whole, false).is_ok() && shown(&whole, true).is_ok());
        let cut = (0..whole.len()).rev().find(|at| whole.is_char_boundary(*at) && *at as f64 <= part * whole.len() as f64);
        let broken = &whole[..cut.unwrap_or(0)];
        prop_assert!(shown(broken, true).is_err());
        not_understood(broken)?;
    }

    #[test]
    fn no_status_moves_the_cursor(status in status()) {
        let text = shown(&serde_json::to_string(&status).unwrap(), false).unwrap();
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", text);
        let waiting = |report: &PartitionReport| report.owner.as_ref().map_or(0, |owner| owner.waiting.len());
        let rows: usize = status.handlers.iter().flat_map(|one| &one.partitions).map(waiting).sum();
        let most = 2 + status.handlers.len() * 12 + rows + status.handlers.iter().map(|one| one.partitions.len()).sum::<usize>();
        prop_assert!(text.lines().count() <= most, "a text brings lines of its own: {:?}", text);
    }
}

#[test]
fn another_servers_page_is_no_status() {
    for page in [
        "<!DOCTYPE html>\n<html><head><title>404</title></head></html>",
        "",
        "null",
        "[]",
        "{}",
        "{\"status\":\"UP\"}",
        "{\"fleet\":\"f\",\"phase\":\"running\",\"handlers\":{}}",
        "# HELP up\nup 1\n",
    ] {
        not_understood(page).unwrap();
    }
    assert!(shown(&"[".repeat(100_000), true).is_err());
}
