//! The model of one group's coordinator: members and their sessions, who owns what, and the commits.
//!
//! Like Kafka it fences members, not partitions: a member that lives may commit for a partition that
//! another one owns.

use std::collections::{BTreeMap, BTreeSet};

use crate::draw::Draw;
use crate::plan::GroupPlan;

/// Kafka's limit of a commit's metadata, in UTF-16 units.
pub const METADATA_UNITS_MAX: usize = 4_096;

/// One partition's part of a commit.
#[derive(Debug, Clone)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
    pub metadata: Vec<u8>,
    /// The assignment it comes from; the coordinator knows nothing of it.
    pub number: u64,
    /// Counts what was sent, to tell what came late; the coordinator knows nothing of it.
    pub sequence: u64,
}

/// What the group has committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    pub metadata: Vec<u8>,
    sequence: u64,
}

/// Why a commit was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitError {
    UnknownMember,
    StaleEpoch,
    MetadataTooLarge,
}

/// What became of each partition's part of a commit: refused, or taken, and whether the position went back.
pub type CommitAnswer = Vec<(i32, Result<bool, CommitError>)>;

#[derive(Debug)]
struct Member {
    host: u8,
    deadline_ms: u64,
    owned: BTreeSet<i32>,
    epoch: u64,
}

/// What a member learns with its heartbeat.
#[derive(Debug, Clone)]
pub struct Welcome {
    pub member: u64,
    pub epoch: u64,
    /// What it may own now. It has to give back the rest.
    pub assigned: BTreeSet<i32>,
}

/// One group.
#[derive(Debug)]
pub struct Coordinator {
    plan: GroupPlan,
    partitions: i32,
    members: BTreeMap<u64, Member>,
    members_seen: u64,
    epoch: u64,
    target: BTreeMap<i32, u64>,
    pub offsets: BTreeMap<i32, Committed>,
}

impl Coordinator {
    pub fn new(plan: GroupPlan, partitions: i32) -> Self {
        Self {
            plan,
            partitions,
            members: BTreeMap::new(),
            members_seen: 0,
            epoch: 0,
            target: BTreeMap::new(),
            offsets: BTreeMap::new(),
        }
    }

    /// A member, known or new, tells what it owns. None: it is not known, and has lost everything.
    pub fn heartbeat(
        &mut self,
        now_ms: u64,
        host: u8,
        id: Option<u64>,
        owned: BTreeSet<i32>,
    ) -> Option<Welcome> {
        let id = match id {
            Some(id) => id,
            None => self.join(host),
        };
        let others: BTreeSet<i32> = self.owned_by_others(id);
        let target = &self.target;
        let (epoch, session_ms) = (self.epoch, self.plan.session_ms);
        let member = self.members.get_mut(&id)?;
        member.deadline_ms = now_ms + session_ms;
        let wanted = target.iter().filter(|(_, target)| **target == id).map(|(partition, _)| *partition);
        let assigned: BTreeSet<i32> =
            wanted.filter(|partition| owned.contains(partition) || !others.contains(partition)).collect();
        // Who has something to give back stays what it was until it has: so what it has sent before as the
        // owner is told from what comes later.
        if owned.is_subset(&assigned) {
            member.epoch = epoch;
        }
        member.owned = owned.union(&assigned).copied().collect();
        Some(Welcome { member: id, epoch: member.epoch, assigned })
    }

    fn join(&mut self, host: u8) -> u64 {
        self.members_seen += 1;
        let id = self.members_seen;
        self.members.insert(id, Member { host, deadline_ms: 0, owned: BTreeSet::new(), epoch: 0 });
        self.balance();
        id
    }

    fn owned_by_others(&self, id: u64) -> BTreeSet<i32> {
        self.members
            .iter()
            .filter(|(other, _)| **other != id)
            .flat_map(|(_, one)| one.owned.clone())
            .collect()
    }

    pub fn leave(&mut self, id: u64) {
        if self.members.remove(&id).is_some() {
            self.balance();
        }
    }

    /// Gives up members that were silent for a session; answers who.
    pub fn tick(&mut self, now_ms: u64) -> Vec<(u64, u8)> {
        let silent: Vec<(u64, u8)> = self
            .members
            .iter()
            .filter(|(_, member)| now_ms >= member.deadline_ms)
            .map(|(id, member)| (*id, member.host))
            .collect();
        for (id, _) in &silent {
            self.members.remove(id);
        }
        if !silent.is_empty() {
            self.balance();
        }
        silent
    }

    /// Sticky and balanced: members keep what they have up to their share.
    fn balance(&mut self) {
        self.epoch += 1;
        let ids: Vec<u64> = self.members.keys().copied().collect();
        let share = (self.partitions as usize).div_ceil(ids.len().max(1));
        let mut load: BTreeMap<u64, usize> = ids.iter().map(|id| (*id, 0)).collect();
        self.target.retain(|_, id| match load.get_mut(id) {
            Some(held) if *held < share => {
                *held += 1;
                true
            }
            _ => false,
        });
        for partition in 0..self.partitions {
            if self.target.contains_key(&partition) {
                continue;
            }
            if let Some((id, held)) = load.iter_mut().min_by_key(|(_, held)| **held) {
                *held += 1;
                self.target.insert(partition, *id);
            }
        }
    }

    /// Another assignment, for no reason that members know of.
    pub fn shuffle(&mut self, draw: &mut Draw) {
        let ids: Vec<u64> = self.members.keys().copied().collect();
        if ids.is_empty() {
            return;
        }
        self.epoch += 1;
        for partition in 0..self.partitions {
            if draw.permille(500) {
                self.target.insert(partition, draw.pick(&ids).unwrap());
            }
        }
    }

    /// Takes a commit of a member that lives, whatever it owns; where `strict`, only of one that has not gone
    /// on since. Answers per partition, with whether the position went back.
    pub fn commit(
        &mut self,
        now_ms: u64,
        (id, epoch): (u64, u64),
        positions: &[Position],
        strict: bool,
    ) -> Result<CommitAnswer, CommitError> {
        let (classic, session_ms) = (self.plan.classic, self.plan.session_ms);
        let member = self.members.get_mut(&id).ok_or(CommitError::UnknownMember)?;
        if epoch < member.epoch && (strict || !classic) {
            return Err(CommitError::StaleEpoch);
        }
        if classic {
            member.deadline_ms = now_ms + session_ms;
        }
        Ok(positions.iter().map(|position| (position.partition, self.store(position))).collect())
    }

    /// Whether a transaction may commit this as this member. A sign of life it is not, in no protocol.
    pub fn may_include(&self, id: u64, epoch: u64, positions: &[Position]) -> bool {
        let is_current = self.members.get(&id).is_some_and(|member| epoch >= member.epoch);
        is_current && positions.iter().all(fits)
    }

    /// Keeps a position. Answers whether it went back.
    pub fn store(&mut self, position: &Position) -> Result<bool, CommitError> {
        if !fits(position) {
            return Err(CommitError::MetadataTooLarge);
        }
        let Position { offset, sequence, .. } = *position;
        let committed = Committed { offset, metadata: position.metadata.clone(), sequence };
        let before = self.offsets.insert(position.partition, committed);
        Ok(before.is_some_and(|before| before.offset > offset || before.sequence > sequence))
    }

    pub fn fetch(&self, partitions: &BTreeSet<i32>) -> BTreeMap<i32, Committed> {
        let known = partitions.iter().filter_map(|one| Some((*one, self.offsets.get(one)?.clone())));
        known.collect()
    }

    /// A tool moves the offset of a partition, ahead or back; answers whether there was one.
    pub fn move_offset(&mut self, draw: &mut Draw, ahead: bool) -> bool {
        let partitions: Vec<i32> = self.offsets.keys().copied().collect();
        let moved = draw.pick(&partitions).and_then(|partition| self.offsets.get_mut(&partition));
        let Some(committed) = moved else { return false };
        let before = committed.offset as u64;
        committed.offset = if ahead { before + draw.between(1, 100) } else { draw.below(before + 1) } as i64;
        committed.metadata.clear();
        true
    }

    /// Another product writes over the metadata of a partition; answers which.
    pub fn spoil(&mut self, draw: &mut Draw) -> Option<i32> {
        let partitions: Vec<i32> = self.offsets.keys().copied().collect();
        let partition = draw.pick(&partitions)?;
        let committed = self.offsets.get_mut(&partition)?;
        committed.metadata = foreign(draw, &committed.metadata);
        Some(partition)
    }
}

fn fits(position: &Position) -> bool {
    String::from_utf8_lossy(&position.metadata).encode_utf16().count() <= METADATA_UNITS_MAX
}

/// Metadata as other products leave it, and as ours would look damaged.
fn foreign(draw: &mut Draw, ours: &[u8]) -> Vec<u8> {
    match draw.below(6) {
        0 => Vec::new(),
        1 => b"{\"consumer\":\"another\",\"next\":[7,9]}".to_vec(),
        2 => vec![0xFF, 0xFE, 0x00, 0x80],
        3 => b"2ZZZZ".to_vec(),
        4 => ours.iter().copied().take(ours.len() / 2).collect(),
        _ => (0..draw.below(64)).map(|_| draw.below(256) as u8).collect(),
    }
}
