//! Admission: what a handler wants of a partition's records, and which lane a wanted one belongs to.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use keylane_lanes::LaneId;

use crate::event::Event;

/// What happens to a record without a type, where types are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untyped {
    /// The handler gets it and decides.
    Handle,
    /// It ends at once.
    Skip,
    /// It goes to the dead letters.
    DeadLetter,
}

/// Which records become events of a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The types it wants; empty means everything, typed or not.
    pub types: BTreeSet<String>,
    /// The header that names a record's type.
    pub type_header: String,
    /// What happens to a record without a type.
    pub untyped: Untyped,
}

/// What is to be done with a record that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Handle,
    Skip,
    Condemn { reason: &'static str },
}

impl Filter {
    pub(crate) fn admit(&self, event: &Event) -> Admission {
        if self.types.is_empty() {
            return Admission::Handle;
        }
        let named = event.header(&self.type_header).and_then(|value| std::str::from_utf8(value).ok());
        match (named, self.untyped) {
            (Some(name), _) if self.types.contains(name) => Admission::Handle,
            (Some(_), _) | (None, Untyped::Skip) => Admission::Skip,
            (None, Untyped::Handle) => Admission::Handle,
            (None, Untyped::DeadLetter) => {
                Admission::Condemn { reason: "the record has no readable event type" }
            }
        }
    }
}

/// What must run one after another inside a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneRule {
    /// The records of one key; those without a key each on their own.
    Key,
    /// The records of one key; those without a key as if they all had the same.
    KeyAndNull,
    /// All of them.
    Partition,
    /// Nothing.
    None,
}

impl LaneRule {
    /// The lane of an event. Equal keys always share a lane; a collision of hashes orders more than
    /// was asked for, never less.
    pub(crate) fn lane(self, event: &Event) -> LaneId {
        let mut hasher = DefaultHasher::new();
        match (self, &event.key) {
            (Self::Key | Self::KeyAndNull, Some(key)) => (1_u8, key).hash(&mut hasher),
            (Self::Key, None) | (Self::None, _) => (2_u8, event.offset).hash(&mut hasher),
            (Self::KeyAndNull, None) => 3_u8.hash(&mut hasher),
            (Self::Partition, _) => 4_u8.hash(&mut hasher),
        }
        LaneId(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event;

    fn filter(untyped: Untyped) -> Filter {
        Filter {
            types: BTreeSet::from(["task.assigned".to_owned()]),
            type_header: "ce_type".to_owned(),
            untyped,
        }
    }

    #[test]
    fn wanted_types_are_handled_and_others_skipped() {
        let filter = filter(Untyped::Handle);
        assert_eq!(filter.admit(&event(0, "a").typed("task.assigned")), Admission::Handle);
        assert_eq!(filter.admit(&event(0, "a").typed("task.renamed")), Admission::Skip);
    }

    #[test]
    fn a_record_without_a_type_follows_the_rule() {
        assert_eq!(filter(Untyped::Handle).admit(&event(0, "a")), Admission::Handle);
        assert_eq!(filter(Untyped::Skip).admit(&event(0, "a")), Admission::Skip);
        assert!(matches!(filter(Untyped::DeadLetter).admit(&event(0, "a")), Admission::Condemn { .. }));
    }

    #[test]
    fn no_types_means_everything() {
        let filter = Filter { types: BTreeSet::new(), ..filter(Untyped::DeadLetter) };
        assert_eq!(filter.admit(&event(0, "a")), Admission::Handle);
    }

    #[test]
    fn lanes_follow_the_order_asked_for() {
        let keyed = |offset| event(offset, "a");
        let keyless = |offset| Event { key: None, ..event(offset, "a") };
        let same = |rule: LaneRule, one: Event, other: Event| rule.lane(&one) == rule.lane(&other);
        assert!(same(LaneRule::Key, keyed(1), keyed(2)));
        assert!(!same(LaneRule::Key, event(1, "a"), event(2, "b")));
        assert!(!same(LaneRule::Key, keyless(1), keyless(2)));
        assert!(same(LaneRule::KeyAndNull, keyless(1), keyless(2)));
        assert!(same(LaneRule::Partition, keyed(1), keyless(2)));
        assert!(!same(LaneRule::None, keyed(1), keyed(2)));
    }
}
