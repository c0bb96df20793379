//! The story of a seed: what the checkers look at.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylane_engine::{LaneRule, Untyped};

use crate::database::{Row, State};
use crate::log::{Kind, Record};
use crate::plan::Plan;
use crate::trace::{Entry, Place};
use crate::world::Ending;

/// Everything that happened, and how it ended.
pub struct Story {
    pub plan: Arc<Plan>,
    pub entries: Vec<Entry>,
    /// All records ever written, by partition, those that vanished included.
    pub written: Vec<BTreeMap<i64, Record>>,
    /// Those of them that are still in the log.
    pub remaining: Vec<BTreeMap<i64, Record>>,
    pub ending: Ending,
    /// What stands in the databases, by handler.
    pub databases: Vec<Option<State>>,
    /// What a reader of committed transactions sees of handlers in cuts, by handler, in the order of the log.
    pub seen: Vec<Vec<Row>>,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The entry at which it shows; none at the end.
    pub at: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl Breach {
    pub fn at(at: usize, what: String) -> Result<(), Self> {
        Err(Self { at: Some(at), what })
    }

    pub fn in_the_end(what: String) -> Result<(), Self> {
        Err(Self { at: None, what })
    }
}

impl Story {
    /// Whether the handler's component gets this record.
    pub fn is_handled(&self, record: &Record) -> bool {
        match record.kind {
            Kind::Wanted => true,
            Kind::Unwanted => false,
            Kind::Untyped => self.plan.untyped == Untyped::Handle,
        }
    }

    /// Whether it is skipped by rule.
    pub fn is_skipped(&self, record: &Record) -> bool {
        self.plan.is_skipped(record)
    }

    /// What must run one after another with this record, if anything.
    pub fn lane(&self, record: &Record) -> Option<Option<u32>> {
        match (self.plan.lanes, record.key) {
            (LaneRule::Key | LaneRule::KeyAndNull, Some(key)) => Some(Some(key)),
            (LaneRule::KeyAndNull, None) | (LaneRule::Partition, _) => Some(None),
            (LaneRule::Key, None) | (LaneRule::None, _) => None,
        }
    }

    /// Whether the place's progress lives in a database.
    pub fn has_database(&self, place: Place) -> bool {
        self.databases[usize::from(place.handler)].is_some()
    }

    /// Whether its outputs are committed together with its progress.
    pub fn is_in_cuts(&self, place: Place) -> bool {
        self.plan.cuts[usize::from(place.handler)].is_some()
    }

    pub fn record(&self, place: Place, offset: i64) -> Option<&Record> {
        self.written.get(place.partition as usize)?.get(&offset)
    }

    /// Entries with their positions.
    pub fn walk(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }
}
