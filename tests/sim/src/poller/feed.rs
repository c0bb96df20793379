//! One assignment of one partition in the poller's hands.

use bytes::Bytes;
use keylane_engine::{Delivery, Event, Header, Inbox, Progress, Token, TopicPartition};

use crate::log::{Kind, Record};
use crate::mutation::Mutation;
use crate::process::Process;
use crate::runner::{NUMBER, POISON};
use crate::trace::{Note, Place};

/// The topic's name.
pub const TOPIC: &str = "tasks";
/// The header with a record's type, and the type that is wanted.
pub const TYPE_HEADER: &str = "type";
pub const WANTED: &str = "wanted";

/// Owned by the poller; dropping it tells the owner that the partition is gone.
pub struct Feed {
    pub place: Place,
    pub number: u64,
    pub token: Token,
    pub inbox: Inbox,
    /// The offset after the last one read.
    pub position: i64,
    pub faulted: bool,
    pub halted: bool,
    was_full: bool,
    /// What the torn snapshot remembers.
    earlier: Option<Progress>,
}

impl Feed {
    pub fn new(place: Place, number: u64, token: Token, inbox: Inbox, position: i64) -> Self {
        let (faulted, halted, was_full, earlier) = (false, false, false, None);
        Self { place, number, token, inbox, position, faulted, halted, was_full, earlier }
    }

    /// Delivers one batch if there is room and something to tell. Answers whether it did.
    pub fn serve(&mut self, process: &Process) -> bool {
        if !self.inbox.has_room() {
            if !std::mem::replace(&mut self.was_full, true) {
                process.saw("inbox full");
            }
            if process.mutated(Mutation::PassesOverTheFull) {
                self.position = process.topic.read(self.place.partition, self.position, process.plan.batch).1;
            }
            return false;
        }
        self.was_full = false;
        let (records, next) = process.topic.read(self.place.partition, self.position, process.plan.batch);
        if next == self.position {
            return false;
        }
        let offsets: Vec<i64> = records.iter().map(|record| record.offset).collect();
        let events: Vec<Event> = records.iter().map(|record| self.event(record)).collect();
        let weights = events.iter().map(Event::weight_bytes).collect();
        let delivered = self.inbox.deliver(Delivery { events, next }).is_ok();
        if delivered {
            self.position = next;
            let Self { place, number, .. } = *self;
            process.note(Note::Delivered { place, number, offsets, weights, next });
        }
        delivered
    }

    fn event(&self, record: &Record) -> Event {
        let header = |name: &str, value: &[u8]| Header {
            name: name.to_owned(),
            value: Some(Bytes::copy_from_slice(value)),
        };
        let mut headers = vec![header(NUMBER, &self.number.to_le_bytes())];
        match record.kind {
            Kind::Wanted => headers.push(header(TYPE_HEADER, WANTED.as_bytes())),
            Kind::Unwanted => headers.push(header(TYPE_HEADER, b"another")),
            Kind::Untyped => {}
        }
        let mut value = record.content.to_le_bytes().to_vec();
        value.push(if record.poison { POISON } else { 0 });
        Event {
            source: TopicPartition { topic: TOPIC.into(), partition: self.place.partition },
            offset: record.offset,
            timestamp: None,
            key: record.key.map(|key| Bytes::copy_from_slice(&key.to_le_bytes())),
            value: Some(value.into()),
            headers,
        }
    }

    /// The offset of now beside the payload of before.
    pub fn torn(&mut self, progress: Progress) -> Progress {
        let earlier = self.earlier.replace(progress.clone());
        earlier.map_or(progress.clone(), |earlier| Progress { offset: progress.offset, ..earlier })
    }
}
