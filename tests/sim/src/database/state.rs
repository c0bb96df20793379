//! What stands in a database: fences, floors and claims, and the rows of the handler's effects and outputs.

use std::collections::BTreeMap;

use keylane_engine::{Epoch, GapSet};

/// How an event's story ended, as its claim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedAs {
    Done,
    DeadLettered,
    Skipped,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// What an event did.
    Effect,
    /// One of its outputs, counted from 0, that waits in the outbox.
    Output(u32),
    /// Its dead letter, which waits there too.
    Letter,
}

/// A row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub partition: i32,
    pub offset: i64,
    pub what: What,
}

/// One partition's rows of the host.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub epoch: Option<Epoch>,
    pub floor: Option<i64>,
    pub claims: BTreeMap<i64, EndedAs>,
    /// All claims that ever were, those that pruning deleted too: for the checkers alone.
    pub ended: BTreeMap<i64, EndedAs>,
}

/// All of it. A backup is a clone.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub streams: BTreeMap<i32, Stream>,
    /// In the order of commits, and of statements in each.
    pub rows: Vec<Row>,
    settled: bool,
    /// Counts commits.
    pub commit: u64,
}

impl State {
    pub fn stream(&mut self, partition: i32) -> &mut Stream {
        self.streams.entry(partition).or_default()
    }

    /// Whether the starts of the topic's partitions were settled.
    pub fn is_settled(&self) -> bool {
        self.settled
    }

    /// Never overwrites.
    pub fn settle(&mut self, offered: &[(i32, i64)]) -> BTreeMap<i32, i64> {
        let before = std::mem::replace(&mut self.settled, true);
        for (partition, offset) in offered {
            self.stream(*partition).floor.get_or_insert(if before { 0 } else { *offset });
        }
        self.streams.iter().filter_map(|(one, stream)| Some((*one, stream.floor?))).collect()
    }

    /// Claims events that none was claimed of before, and adds the rows.
    pub fn commit(&mut self, partition: i32, endings: &[(i64, EndedAs)], rows: &[Row]) -> u64 {
        let stream = self.stream(partition);
        stream.claims.extend(endings.iter().copied());
        stream.ended.extend(endings.iter().copied());
        self.rows.extend(rows);
        self.commit += 1;
        self.commit
    }
}

impl Stream {
    pub fn is_claimed(&self, offset: i64) -> bool {
        self.claims.contains_key(&offset) || self.floor.is_some_and(|floor| offset < floor)
    }

    /// Where reading starts, and what has ended above that.
    pub fn restored(&self) -> Option<GapSet> {
        let mut gap = GapSet::at(self.floor?);
        for offset in self.claims.range(gap.base..).map(|(offset, _)| *offset) {
            match gap.ended.last_mut() {
                None if offset == gap.base => gap.base += 1,
                Some(last) if last.end == offset => last.end += 1,
                _ => gap.ended.push(offset..offset + 1),
            }
        }
        Some(gap)
    }

    /// Deletes the claims below a floor, at most so many. Answers whether all of them are gone.
    pub fn prune(&mut self, floor: i64, most: usize, raises: bool) -> bool {
        let Some(before) = self.floor else { return true };
        let below: Vec<i64> = self.claims.range(..floor).map(|(offset, _)| *offset).collect();
        let next = below.get(most).copied();
        self.claims.retain(|offset, _| *offset >= next.unwrap_or(floor));
        if raises {
            self.floor = Some(before.max(next.unwrap_or(floor)));
        }
        next.is_none()
    }
}
