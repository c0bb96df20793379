//! The coordinator of classic consumer groups, by Kafka's rules.
//!
//! `groups` holds all groups and their offsets; one `Group` is a state machine that is told the
//! time and never waits itself. Who waits: a JoinGroup or SyncGroup that cannot be answered yet
//! gets the receiving end of a channel, and its connection task waits there with the state
//! unlocked. Who wakes: whatever completes the rebalance or hands out the assignments (another
//! member's request, or the broker's ticker) sends to every waiting member at once. Who owns: the
//! group, under the lock of the state. What bounds: the members and groups of
//! [`Limits`](crate::Limits), and a member's own session and rebalance timeouts.

mod groups;
mod join;
mod member;
mod rebalance;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;

use groups::Committed;
pub(crate) use groups::{Groups, Place};
pub(crate) use join::JoinRequest;
pub(crate) use member::{Answer, JoinAnswer, ListedMember, SyncAnswer};
pub(crate) use sync::SyncRequest;

use member::Member;

/// Where a group stands. The names are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// All have joined; the leader is to send the assignments.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

impl Phase {
    /// As clients see it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// One consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    /// `consumer` for consumers; none before the first member came.
    pub(crate) protocol_type: Option<String>,
    /// The assignor that all members know.
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids that were given out and have not joined yet, with the time when they are forgotten.
    pending: BTreeMap<String, Instant>,
    /// Committed offsets by topic and partition.
    pub(crate) offsets: BTreeMap<(String, i32), Committed>,
    /// A rebalance is not completed before this, so that members that start together share it.
    not_before: Instant,
    /// Who has not joined (or synced) by then is out.
    deadline: Instant,
    first_delay: Duration,
    member_limit: usize,
}

impl Group {
    fn new(first_delay: Duration, member_limit: usize, now: Instant) -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            offsets: BTreeMap::new(),
            not_before: now,
            deadline: now,
            first_delay,
            member_limit,
        }
    }

    /// Whether it has neither members nor ids given out nor offsets: it can be forgotten.
    fn is_bare(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty() && self.offsets.is_empty()
    }

    /// Its members, for a description.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &Member)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    fn member_of_instance(&self, instance: &str) -> Option<&str> {
        let same = |m: &Member| m.instance.as_deref() == Some(instance);
        self.members.iter().find(|(_, m)| same(m)).map(|(id, _)| id.as_str())
    }

    /// The member with this id, unless its instance name has been taken over by another one.
    fn known(&mut self, id: &str, instance: Option<&str>) -> Result<&mut Member, ResponseError> {
        if let Some(current) = instance.and_then(|name| self.member_of_instance(name))
            && current != id
        {
            return Err(ResponseError::FencedInstanceId);
        }
        self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)
    }

    /// A heartbeat.
    pub(crate) fn heartbeat(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.see(id, instance, generation, now)?;
        match self.phase {
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => Ok(()),
        }
    }

    /// Whether this sender may commit offsets now. A negative generation is a client outside any
    /// group membership, which may commit while the group has no members.
    pub(crate) fn may_commit(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        self.see(id, instance, generation, now)?;
        match self.phase {
            Phase::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::PreparingRebalance | Phase::Stable => Ok(()),
        }
    }

    /// Whether this sender may commit offsets in a transaction. As in Kafka, older clients tell nothing of
    /// themselves and are let in, a rebalance is no reason to refuse, and it is no sign of life.
    pub(crate) fn may_commit_in_transaction(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        let says_nothing = generation < 0 && id.is_empty() && instance.is_none();
        if says_nothing || (generation < 0 && self.phase == Phase::Empty) {
            return Ok(());
        }
        let current = self.generation;
        self.known(id, instance)?;
        if generation == current { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// Notes that a member of this generation is alive; any other sender is refused.
    fn see(
        &mut self,
        id: &str,
        instance: Option<&str>,
        generation: i32,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let current = self.generation;
        let member = self.known(id, instance)?;
        if generation != current {
            return Err(ResponseError::IllegalGeneration);
        }
        member.seen = now;
        Ok(())
    }

    /// A member leaves. A static one may be named by its instance alone.
    pub(crate) fn leave(
        &mut self,
        id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(id).is_some() {
            self.complete_if_due(now);
            return Ok(());
        }
        let id = match instance {
            Some(name) => {
                let current = self.member_of_instance(name).ok_or(ResponseError::UnknownMemberId)?;
                if !id.is_empty() && id != current {
                    return Err(ResponseError::FencedInstanceId);
                }
                current.to_owned()
            }
            None => id.to_owned(),
        };
        self.members.contains_key(&id).then_some(()).ok_or(ResponseError::UnknownMemberId)?;
        self.remove(&[id], now);
        Ok(())
    }
}
