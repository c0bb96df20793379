//! Leader epochs of what was read (KIP-320). A log that was cut, and has been written on since, has other records
//! at offsets that were read; by the epochs of their leaders they are told from the ones that were there, also
//! by whoever takes the partition later.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most changes of the leader that are remembered of one assignment. Of older ones nothing is said.
const CHANGES_MAX: usize = 32;

/// A place in a log: everything below was read, and the last record of that was written under this leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset.
    pub offset: i64,
    /// The leader's epoch, as the record has it.
    pub leader_epoch: i32,
}

/// Records of one leader, by their offsets. Those that tell none have one of their own, of which nothing is said.
#[derive(Debug, Clone, Copy)]
struct Reign {
    leader_epoch: Option<i32>,
    first: i64,
    last: i64,
}

/// What was read under which leader, in one assignment. The poller writes it, record by record, and the owner
/// asks when it raises the floor: each holds the lock for a few comparisons.
#[derive(Debug, Default)]
pub struct LeaderEpochs(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    reigns: VecDeque<Reign>,
    /// Below it everything was read, or is no record.
    to: i64,
}

impl LeaderEpochs {
    /// A record was read. Records come in offset order.
    pub fn note(&self, offset: i64, leader_epoch: Option<i32>) {
        let mut seen = self.lock();
        seen.to = seen.to.max(offset + 1);
        let reigns = &mut seen.reigns;
        match reigns.back_mut() {
            Some(reign) if reign.leader_epoch == leader_epoch => reign.last = reign.last.max(offset),
            _ => {
                if reigns.len() == CHANGES_MAX {
                    reigns.pop_front();
                }
                reigns.push_back(Reign { leader_epoch, first: offset, last: offset });
            }
        }
    }

    /// Between what was read and this offset there is no record.
    pub fn reach(&self, offset: i64) {
        let mut seen = self.lock();
        seen.to = seen.to.max(offset);
    }

    /// The highest place up to this offset of which the leader is known. It lies below the offset where what
    /// follows the last record is no record (a transaction's marker), or was compacted away: a later leader
    /// may have written that. None where not everything below the offset was read: what had ended before may
    /// count as passed long before it is read.
    #[must_use]
    pub fn position_at(&self, offset: i64) -> Option<LogPosition> {
        let seen = self.lock();
        if seen.to < offset {
            return None;
        }
        let below = seen.reigns.iter().rev().find(|reign| reign.first < offset)?;
        Some(LogPosition { offset: offset.min(below.last + 1), leader_epoch: below.leader_epoch? })
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, leader_epoch: i32) -> Option<LogPosition> {
        Some(LogPosition { offset, leader_epoch })
    }

    #[test]
    fn a_place_has_the_leader_of_the_last_record_below_it() {
        let epochs = LeaderEpochs::default();
        assert_eq!(epochs.position_at(5), None);
        for (offset, leader_epoch) in [(10, 3), (11, 3), (14, 3), (15, 7), (16, 7), (20, 8)] {
            epochs.note(offset, Some(leader_epoch));
        }
        assert_eq!(epochs.position_at(10), None, "nothing below it was read");
        assert_eq!(epochs.position_at(11), at(11, 3));
        assert_eq!(epochs.position_at(13), at(13, 3), "between two records of one leader");
        assert_eq!(epochs.position_at(15), at(15, 3));
        assert_eq!(epochs.position_at(16), at(16, 7));
        assert_eq!(epochs.position_at(19), at(17, 7), "who wrote what is no record is not known");
        assert_eq!(epochs.position_at(21), at(21, 8));
    }

    #[test]
    fn what_was_not_read_has_no_place() {
        let epochs = LeaderEpochs::default();
        epochs.note(20, Some(8));
        assert_eq!(epochs.position_at(30), None, "there may be records from 21 on");
        epochs.reach(30);
        epochs.reach(25);
        assert_eq!((epochs.position_at(30), epochs.position_at(31)), (at(21, 8), None));
        epochs.note(30, Some(9));
        assert_eq!((epochs.position_at(30), epochs.position_at(31)), (at(21, 8), at(31, 9)));
    }

    #[test]
    fn records_that_tell_no_leader_are_no_place() {
        let epochs = LeaderEpochs::default();
        for (offset, leader_epoch) in [(0, Some(3)), (1, None), (2, None), (3, Some(4))] {
            epochs.note(offset, leader_epoch);
        }
        assert_eq!(epochs.position_at(1), at(1, 3));
        assert_eq!((epochs.position_at(2), epochs.position_at(3)), (None, None), "there are records above 1");
        assert_eq!(epochs.position_at(4), at(4, 4));
    }

    #[test]
    fn what_is_forgotten_is_not_told_wrongly() {
        let epochs = LeaderEpochs::default();
        let changes = i32::try_from(CHANGES_MAX).unwrap();
        for leader in 0..changes + 5 {
            epochs.note(i64::from(leader), Some(leader));
        }
        assert_eq!(epochs.position_at(5), None);
        assert_eq!(epochs.position_at(6), at(6, 5));
    }
}
