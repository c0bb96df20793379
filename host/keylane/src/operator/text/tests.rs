//! The status as people read it.

use keylane_engine::Blocking;

use super::*;

fn owner() -> PartitionStatus {
    PartitionStatus {
        phase: "running".to_owned(),
        halted: None,
        watermark: 1_200,
        next: 1_260,
        gap_records: 60,
        gap_units: 31,
        claims: None,
        admits: true,
        why_not: None,
        blocking: Some(Blocking { offset: 1_200, key: Some("\"worker-7\"".to_owned()) }),
        buffered_records: 60,
        buffered_bytes: 6_000,
        lanes: Lanes { ready: 2, running: 1, parked: 1, paused: 0, burying: 0, skipping: 0, runs: 1 },
        oldest_run_ms: Some(3),
        waiting: vec![LaneStatus {
            offset: 1_200,
            key: Some("\"worker-7\"".to_owned()),
            state: "parked".to_owned(),
            attempts: 3,
            next_try_in_ms: Some(2_150),
            class: Some("retry".to_owned()),
            error: Some("the ledger\nis \u{1b}[31mlocked".to_owned()),
            queued: 4,
        }],
        waiting_more: 0,
    }
}

fn report(partition: i32, owner: Option<PartitionStatus>) -> PartitionReport {
    PartitionReport {
        topic: "tasks".to_owned(),
        partition,
        phase: "reading".to_owned(),
        fault: None,
        committed: Some(1_100),
        end: Some(1_300),
        lag: Some(100),
        owner,
        silent: None,
    }
}

fn of(partitions: Vec<PartitionReport>) -> String {
    let handler = HandlerStatus {
        name: "accounting".to_owned(),
        health: format!("{} partitions", partitions.len()),
        relay: Some("standing by, host-2/7 relays".to_owned()),
        partitions,
        silent: None,
    };
    status(&HostStatus { fleet: "exchange".to_owned(), phase: "running".to_owned(), handlers: vec![handler] })
}

#[test]
fn each_partition_has_a_line_and_each_waiting_event_another() {
    let quiet = PartitionStatus {
        gap_records: 0,
        blocking: None,
        lanes: Lanes::default(),
        waiting: Vec::new(),
        ..owner()
    };
    let text = of(vec![report(0, Some(owner())), report(1, Some(quiet))]);
    let expected = r#"fleet exchange: running

accounting: 2 partitions
  its outbox: standing by, host-2/7 relays
  partition    phase      watermark    lag    gap    lanes
  ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  tasks[0]     running         1200    100     60    2 ready, 1 running, 1 parked    held by offset 1200 of key "worker-7"
  tasks[1]     running         1200    100      0    idle

  waiting     offset    key           state     attempts    next try    queued    last error
  ────────────────────────────────────────────────────────────────────────────────────────────────────────────────
  tasks[0]      1200    "worker-7"    parked           3       2.1 s         4    retry: the ledger is  [31mlocked"#;
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn what_is_wrong_is_said_first() {
    let halted = PartitionStatus {
        phase: "halted".to_owned(),
        halted: Some("offset 1200 used up its attempts".to_owned()),
        ..owner()
    };
    let faulted = PartitionReport {
        phase: "faulted".to_owned(),
        fault: Some("records 5..9 are gone".to_owned()),
        lag: None,
        ..report(1, None)
    };
    let silent = PartitionReport { silent: Some("its owner did not answer".to_owned()), ..report(2, None) };
    let text = of(vec![report(0, Some(halted)), faulted, silent]);
    for line in [
        "halted",
        "offset 1200 used up its attempts",
        "faulted",
        "records 5..9 are gone",
        "its owner did not answer",
    ] {
        assert!(text.contains(line), "{line:?} is missing in\n{text}");
    }
}

#[test]
fn quiet_partitions_of_retry_topics_are_counted_only() {
    let retry = |partition, lag| PartitionReport {
        topic: "tasks.accounting.retry".to_owned(),
        lag: Some(lag),
        ..report(partition, None)
    };
    let text = of(vec![report(0, None), retry(0, 0), retry(1, 2), retry(2, 0)]);
    assert!(text.contains("tasks.accounting.retry[1]"), "{text}");
    assert!(!text.contains("retry[0]") && !text.contains("retry[2]"), "{text}");
    assert!(text.ends_with("and 2 partitions of retry topics, where nothing waits"), "{text}");
}

#[test]
fn a_long_error_is_cut_and_says_so() {
    assert_eq!(shown(&"x".repeat(ERROR_CHARACTERS)), "x".repeat(ERROR_CHARACTERS));
    assert_eq!(shown(&"ü".repeat(ERROR_CHARACTERS + 1)), "ü".repeat(ERROR_CHARACTERS) + "…");
}
