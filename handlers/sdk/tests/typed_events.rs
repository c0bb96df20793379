//! How records become typed events, and how answers become the world's.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::time::Duration;

use keylane_sdk::bindings::keylane::handler::types;
use keylane_sdk::{Error, Failure, Header, Record};

/// A body.
#[derive(Debug, PartialEq, serde::Deserialize)]
pub struct TaskAssigned {
    task: String,
    worker: String,
}

keylane_sdk::events! {
    /// Two types.
    #[derive(Debug, PartialEq)]
    pub enum Event {
        "task.assigned" => Assigned(TaskAssigned),
        "day.closed" => DayClosed(String),
    }
}

keylane_sdk::handler!(handle);

fn handle(_event: Event, _record: &Record) -> Result<(), Failure> {
    Ok(())
}

fn record(event_type: Option<&[u8]>, value: Option<&str>) -> Record {
    let header = |name: &str, value: &[u8]| Header { name: name.into(), value: Some(value.to_vec()) };
    Record {
        topic: "task-lifecycle".into(),
        partition: 3,
        offset: 1042,
        timestamp: None,
        key: Some(b"t-1".to_vec()),
        value: value.map(|value| value.as_bytes().to_vec()),
        headers: event_type.map(|event_type| header("ce_type", event_type)).into_iter().collect(),
        attempt: 1,
    }
}

fn rejection(record: &Record) -> String {
    match keylane_sdk::decode::<Event>(record) {
        Err(Failure::Reject { reason }) => reason,
        other => format!("not a rejection: {other:?}"),
    }
}

#[test]
fn a_record_becomes_the_event_of_its_type() {
    let record = record(Some(b"task.assigned"), Some(r#"{"task":"t-1","worker":"w-1","title":"x"}"#));
    let event: Event = keylane_sdk::decode(&record).unwrap();
    assert_eq!(event, Event::Assigned(TaskAssigned { task: "t-1".into(), worker: "w-1".into() }));
    assert_eq!(record.key_str(), Some("t-1"));
}

#[test]
fn what_cannot_be_read_is_rejected_with_the_reason() {
    let assigned = Some(b"task.assigned".as_slice());
    let cases: [(Record, &str); 6] = [
        (record(None, Some("{}")), "event without a type: it has no header ce_type"),
        (record(Some(&[0xff]), Some("{}")), "the header ce_type is not UTF-8"),
        (
            record(Some(b"task.lost"), Some("{}")),
            "not one that this handler knows: task.assigned, day.closed",
        ),
        (record(assigned, None), "event of type \"task.assigned\" has no body"),
        (
            record(assigned, Some("{\"task\":\n \"t")),
            "cannot be read: EOF while parsing a string at line 2 column 3",
        ),
        (
            record(assigned, Some("{\"task\":\"t\"}")),
            "cannot be read: missing field `worker` at line 1 column 12",
        ),
    ];
    for (record, wanted) in cases {
        let reason = rejection(&record);
        assert!(reason.starts_with("task-lifecycle[3] at offset 1042: "), "{reason}");
        assert!(reason.contains(wanted), "wanted {wanted:?} in {reason:?}");
    }
}

#[test]
fn identity_is_the_publishers_or_the_place() {
    let mut record = record(Some(b"day.closed"), None);
    assert_eq!(record.identity(), "task-lifecycle/3/1042");
    record.headers.push(Header { name: "ce_source".into(), value: Some(b"tracker".to_vec()) });
    assert_eq!(record.identity(), "task-lifecycle/3/1042");
    record.headers.push(Header { name: "ce_id".into(), value: None });
    record.headers.push(Header { name: "ce_id".into(), value: Some(b"7".to_vec()) });
    assert_eq!(record.identity(), "tracker#7");
}

#[test]
fn an_answer_crosses_into_the_world() {
    let event = types::Event {
        topic: "days".into(),
        partition: 0,
        offset: 1,
        timestamp: Some(types::Timestamp { at_ms: 5, kind: types::TimestampKind::CreateTime }),
        key: None,
        value: Some(b"\"2026-11-21\"".to_vec()),
        headers: vec![types::Header { name: "ce_type".into(), value: Some(b"day.closed".to_vec()) }],
        attempt: 2,
    };
    let retry = |event: Event, record: &Record| {
        assert_eq!(event, Event::DayClosed("2026-11-21".into()));
        assert_eq!((record.attempt, record.timestamp.map(|timestamp| timestamp.at_ms)), (2, Some(5)));
        Err(Failure::retry_after("later", Duration::from_secs(3)))
    };
    let wanted = types::RetryRequest { reason: "later".into(), after_ms: Some(3_000) };
    assert_eq!(keylane_sdk::answer(event, retry), Err(types::Failure::Retry(wanted)));
}

#[test]
fn errors_become_the_failure_that_fits() {
    let retried = [Error::StatementRefused("x".into()), Error::Aborted, Error::Unavailable("x".into())];
    for error in retried {
        assert!(matches!(Failure::from(error), Failure::Retry { after: None, .. }));
    }
    let rejected = [Error::NotGranted("x".into()), Error::Limit("x".into()), Error::MailRefused("x".into())];
    for error in rejected {
        assert!(matches!(Failure::from(error), Failure::Reject { .. }));
    }
}
