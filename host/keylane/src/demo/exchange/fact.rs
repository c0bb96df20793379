//! What happens on the exchange, and the Kafka record that tells it.

use bytes::Bytes;
use keylane_engine::{Header, OutgoingRecord};

use super::calendar::{Day, WORKDAY_S, day_of, written};
use crate::demo::topics::{DAY_LIFECYCLE, TASK_LIFECYCLE};

/// The type of the event that a task was given to a worker.
pub(super) const TASK_ASSIGNED: &str = "task.assigned";
/// The type of the event that a worker finished a task.
pub(super) const TASK_COMPLETED: &str = "task.completed";
/// The type of the event that a day ended.
pub(super) const DAY_CLOSED: &str = "day.closed";
/// A type that no handler knows.
const TASK_PRAISED: &str = "task.praised";

/// Who tells it: the `ce_source` of every record made here.
const SOURCE: &str = "tracker";

/// A task and its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) struct Moved {
    /// The task's id.
    pub(in crate::demo) task: String,
    /// The worker's id.
    pub(in crate::demo) worker: String,
}

/// In which way a record is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::demo) enum Broken {
    /// `task.completed`, with a body that ends in the middle.
    CutShort,
    /// No header tells the type.
    Untyped,
    /// A type that no handler asks for.
    UnknownType,
    /// `task.assigned`, without a body.
    Bodiless,
}

impl Broken {
    /// Every way, in the order in which the stream goes round them.
    pub(in crate::demo) const ALL: [Self; 4] =
        [Self::CutShort, Self::Untyped, Self::UnknownType, Self::Bodiless];

    /// The type that its record carries, if any.
    pub(in crate::demo) fn event_type(self) -> Option<&'static str> {
        match self {
            Self::CutShort => Some(TASK_COMPLETED),
            Self::Untyped => None,
            Self::UnknownType => Some(TASK_PRAISED),
            Self::Bodiless => Some(TASK_ASSIGNED),
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) enum Fact {
    /// A worker was given a task.
    Assigned(Moved),
    /// A worker finished it.
    Completed(Moved),
    /// Nothing happened, but a broken record tells that something did. Its task exists nowhere else.
    Broken(Broken, Moved),
}

/// What happened, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo) struct Happening {
    /// In seconds of work since the first morning.
    pub(super) work_s: u64,
    /// What.
    pub(in crate::demo) fact: Fact,
}

impl Happening {
    /// The day it counts for.
    pub(in crate::demo) fn day(&self) -> &'static Day {
        day_of(self.work_s)
    }

    /// The type that its record carries, if any.
    pub(in crate::demo) fn event_type(&self) -> Option<&'static str> {
        match &self.fact {
            Fact::Assigned(_) => Some(TASK_ASSIGNED),
            Fact::Completed(_) => Some(TASK_COMPLETED),
            Fact::Broken(broken, _) => broken.event_type(),
        }
    }

    /// The record that tells it.
    pub(in crate::demo) fn record(&self) -> OutgoingRecord {
        let (Fact::Assigned(moved) | Fact::Completed(moved) | Fact::Broken(_, moved)) = &self.fact;
        let body = body(moved, self.day());
        let body = match &self.fact {
            Fact::Broken(Broken::CutShort, _) => body.get(..body.len() / 2).map(str::to_owned),
            Fact::Broken(Broken::Bodiless, _) => None,
            _ => Some(body),
        };
        let id = format!("{}/{}", self.event_type().unwrap_or("untyped"), moved.task);
        let headers = headers(self.event_type(), &id, &written(self.work_s));
        record(TASK_LIFECYCLE, &moved.task, body, headers)
    }
}

/// The record that closes a day.
pub(in crate::demo) fn closing_record(day: &Day) -> OutgoingRecord {
    let body = serde_json::json!({ "day": day.date }).to_string();
    let evening = super::calendar::MORNING_S + WORKDAY_S;
    let time = format!("{}T{:02}:00:00Z", day.date, evening / 3_600);
    let headers = headers(Some(DAY_CLOSED), &format!("{DAY_CLOSED}/{}", day.date), &time);
    record(DAY_LIFECYCLE, day.date, Some(body), headers)
}

fn body(moved: &Moved, day: &Day) -> String {
    let title = super::titles::title(&moved.task);
    serde_json::json!({ "task": moved.task, "worker": moved.worker, "title": title, "day": day.date })
        .to_string()
}

fn headers(event_type: Option<&str>, id: &str, time: &str) -> Vec<Header> {
    let header = |name: &str, value: &str| Header {
        name: name.to_owned(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    let mut headers = vec![
        header("ce_specversion", "1.0"),
        header("ce_id", id),
        header("ce_source", SOURCE),
        header("ce_time", time),
        header("content-type", "application/json"),
    ];
    headers.extend(event_type.map(|event_type| header("ce_type", event_type)));
    headers
}

fn record(topic: &str, key: &str, body: Option<String>, headers: Vec<Header>) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.to_owned(),
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: body.map(Bytes::from),
        headers,
    }
}
