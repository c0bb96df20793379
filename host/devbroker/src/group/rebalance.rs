//! From one generation to the next: who is in, who leads, which assignor is used.

use std::time::Instant;

use kafka_protocol::ResponseError;

use super::member::{JoinAnswer, ListedMember, Member};
use super::{Group, Phase};

impl Group {
    /// Starts a rebalance, unless one is being prepared.
    pub(super) fn prepare_rebalance(&mut self, now: Instant) {
        if self.phase == Phase::PreparingRebalance {
            return;
        }
        for (id, member) in &mut self.members {
            member.turn_away(id, ResponseError::RebalanceInProgress);
        }
        let first = self.phase == Phase::Empty;
        self.not_before = if first { now + self.first_delay } else { now };
        self.deadline = now + self.longest_rebalance();
        self.phase = Phase::PreparingRebalance;
    }

    fn longest_rebalance(&self) -> std::time::Duration {
        self.members.values().map(|m| m.rebalance).max().unwrap_or_default()
    }

    /// Completes the rebalance when everybody has joined, or when the time is up.
    pub(super) fn complete_if_due(&mut self, now: Instant) {
        if self.phase != Phase::PreparingRebalance || now < self.not_before {
            return;
        }
        let all = self.pending.is_empty() && self.members.values().all(|m| m.joining.is_some());
        if all || now >= self.deadline {
            self.complete(now);
        }
    }

    fn complete(&mut self, now: Instant) {
        // Static members keep their place until their session ends; others had to come again.
        self.members.retain(|_, m| m.joining.is_some() || m.instance.is_some());
        if self.members.is_empty() {
            self.become_empty();
            return;
        }
        let has_joined = |id: &String| self.members.get(id).is_some_and(|m| m.joining.is_some());
        if !self.leader.as_ref().is_some_and(has_joined) {
            let first = self.members.iter().find(|(_, m)| m.joining.is_some());
            let Some((id, _)) = first else {
                self.deadline = now + self.longest_rebalance();
                return;
            };
            self.leader = Some(id.clone());
        }
        self.protocol = self.elect_protocol();
        self.generation += 1;
        self.phase = Phase::CompletingRebalance;
        self.deadline = now + self.longest_rebalance();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.join_answer(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment.clear();
            if let Some(waiting) = member.joining.take() {
                member.seen = now;
                let _gone = waiting.send(answer);
            }
        }
    }

    fn become_empty(&mut self) {
        self.phase = Phase::Empty;
        self.generation += 1;
        self.leader = None;
        self.protocol = None;
    }

    /// The assignor that most members like best among those that all know; the leader's order
    /// decides between equals.
    fn elect_protocol(&self) -> Option<String> {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id))?;
        let common = |name: &str| self.members.values().all(|m| m.knows(name));
        let favourite = |m: &Member| m.protocols.iter().map(|(n, _)| n).find(|n| common(n)).cloned();
        let votes =
            |name: &str| self.members.values().filter(|m| favourite(m).as_deref() == Some(name)).count();
        let candidates = leader.protocols.iter().map(|(n, _)| n).filter(|n| common(n));
        // max_by_key takes the last of equals, so the leader's order is turned round.
        candidates.rev().max_by_key(|name| votes(name)).cloned()
    }

    /// What a member is told of the current generation.
    pub(super) fn join_answer(&self, id: &str) -> JoinAnswer {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone().unwrap_or_default();
        let listed = |(id, m): (&String, &Member)| ListedMember {
            id: id.clone(),
            instance: m.instance.clone(),
            metadata: m.metadata(&protocol),
        };
        let members = if leader == id { self.members.iter().map(listed).collect() } else { Vec::new() };
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader,
            member_id: id.to_owned(),
            members,
        }
    }

    /// Takes members out and lets the others share their work.
    pub(super) fn remove(&mut self, ids: &[String], now: Instant) {
        for id in ids {
            if let Some(mut member) = self.members.remove(id) {
                member.turn_away(id, ResponseError::UnknownMemberId);
            }
            if self.leader.as_ref() == Some(id) {
                self.leader = None;
            }
        }
        if self.members.is_empty() && self.pending.is_empty() && self.phase != Phase::Empty {
            self.become_empty();
        } else if self.phase == Phase::PreparingRebalance {
            self.complete_if_due(now);
        } else if self.phase != Phase::Empty {
            self.prepare_rebalance(now);
            self.complete_if_due(now);
        }
    }

    /// What time alone brings about: silent members leave, late ones are given up.
    pub(super) fn expire(&mut self, now: Instant) {
        self.pending.retain(|_, until| now < *until);
        let late = self.phase == Phase::CompletingRebalance && now >= self.deadline;
        let is_out = |m: &Member| m.is_expired(now) || (late && m.syncing.is_none());
        let out: Vec<String> =
            self.members.iter().filter(|(_, m)| is_out(m)).map(|(id, _)| id.clone()).collect();
        if !out.is_empty() {
            tracing::info!(members = ?out, "members left their group by silence");
            self.remove(&out, now);
        }
        self.complete_if_due(now);
    }
}
