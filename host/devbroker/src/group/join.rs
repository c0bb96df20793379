//! JoinGroup: new members, members that come again, and static members that were restarted.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::member::{Answer, JoinAnswer, Member};
use super::{Group, Phase};
use crate::topic::random_id;

/// What a JoinGroup request says.
#[derive(Debug, Clone)]
pub(crate) struct JoinRequest {
    /// Empty for a new member.
    pub(crate) member_id: String,
    /// The name of a static member.
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Whether a new member is first told its id and joins with that (protocol version 4 and later):
    /// a join whose answer is lost then leaves no ghost behind.
    pub(crate) id_first: bool,
}

impl Group {
    /// A member joins, or comes again.
    pub(crate) fn join(&mut self, request: JoinRequest, now: Instant) -> Answer<JoinAnswer> {
        self.try_join(&request, now)
            .unwrap_or_else(|error| Answer::Now(JoinAnswer::refused(error, &request.member_id)))
    }

    fn try_join(&mut self, request: &JoinRequest, now: Instant) -> Result<Answer<JoinAnswer>, ResponseError> {
        if !self.shares_a_protocol(request) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let id = request.member_id.as_str();
        if id.is_empty() {
            return self.join_new(request, now);
        }
        if self.pending.remove(id).is_some() {
            return Ok(self.add(id.to_owned(), request, now));
        }
        let unchanged = self.known(id, request.instance.as_deref())?.protocols == request.protocols;
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::CompletingRebalance if unchanged => Ok(Answer::Now(self.join_answer(id))),
            Phase::Stable if unchanged && self.leader.as_deref() != Some(id) => {
                Ok(Answer::Now(self.join_answer(id)))
            }
            Phase::PreparingRebalance | Phase::CompletingRebalance | Phase::Stable => {
                Ok(self.wait(id, request, now))
            }
        }
    }

    /// Whether all other members know one of the assignors of this one.
    fn shares_a_protocol(&self, request: &JoinRequest) -> bool {
        if request.protocols.is_empty() || request.protocol_type.is_empty() {
            return false;
        }
        let replaced = request.instance.as_deref().and_then(|name| self.member_of_instance(name));
        let is_other = |id: &str| id != request.member_id && Some(id) != replaced;
        let others: Vec<&Member> =
            self.members.iter().filter(|(id, _)| is_other(id)).map(|(_, m)| m).collect();
        others.is_empty()
            || self.protocol_type.as_deref() == Some(request.protocol_type.as_str())
                && request.protocols.iter().any(|(name, _)| others.iter().all(|m| m.knows(name)))
    }

    fn join_new(&mut self, request: &JoinRequest, now: Instant) -> Result<Answer<JoinAnswer>, ResponseError> {
        if let Some(instance) = &request.instance {
            let id = format!("{instance}-{}", random_id());
            return match self.member_of_instance(instance).map(ToOwned::to_owned) {
                Some(old) => Ok(self.replace(&old, id, request, now)),
                None => {
                    self.check_room()?;
                    Ok(self.add(id, request, now))
                }
            };
        }
        self.check_room()?;
        let id = format!("{}-{}", request.client_id, random_id());
        if request.id_first {
            self.pending.insert(id.clone(), now + request.session);
            return Ok(Answer::Now(JoinAnswer::refused(ResponseError::MemberIdRequired, &id)));
        }
        Ok(self.add(id, request, now))
    }

    fn check_room(&self) -> Result<(), ResponseError> {
        if self.members.len() + self.pending.len() < self.member_limit {
            return Ok(());
        }
        tracing::error!(
            limit = self.member_limit,
            "a consumer group is full; the development broker refuses a member"
        );
        Err(ResponseError::GroupMaxSizeReached)
    }

    fn add(&mut self, id: String, request: &JoinRequest, now: Instant) -> Answer<JoinAnswer> {
        self.protocol_type = Some(request.protocol_type.clone());
        self.members.insert(
            id.clone(),
            Member {
                instance: request.instance.clone(),
                client_id: request.client_id.clone(),
                session: request.session,
                rebalance: request.rebalance,
                protocols: request.protocols.clone(),
                seen: now,
                assignment: Bytes::new(),
                joining: None,
                syncing: None,
            },
        );
        self.wait(&id, request, now)
    }

    /// Takes what the member says of itself, starts a rebalance if none is under way, and lets it wait.
    fn wait(&mut self, id: &str, request: &JoinRequest, now: Instant) -> Answer<JoinAnswer> {
        let (answer, waiting) = oneshot::channel();
        self.prepare_rebalance(now);
        if let Some(member) = self.members.get_mut(id) {
            member.client_id.clone_from(&request.client_id);
            member.session = request.session;
            member.rebalance = request.rebalance;
            member.protocols.clone_from(&request.protocols);
            member.seen = now;
            // A join sent twice: the first one's connection is given up and its channel closes.
            member.joining = Some(answer);
        }
        self.deadline = self.deadline.max(now + request.rebalance);
        self.complete_if_due(now);
        Answer::Later(waiting)
    }

    /// A static member was restarted: the new id takes over the assignment of the old one, and while
    /// nothing about it changed nobody else notices.
    fn replace(&mut self, old: &str, id: String, request: &JoinRequest, now: Instant) -> Answer<JoinAnswer> {
        let Some(mut former) = self.members.remove(old) else {
            return self.add(id, request, now);
        };
        former.turn_away(old, ResponseError::FencedInstanceId);
        let same = match &self.protocol {
            Some(protocol) => request
                .protocols
                .iter()
                .any(|(name, metadata)| name == protocol && *metadata == former.metadata(protocol)),
            None => false,
        };
        let leader_before = self.leader.clone().unwrap_or_default();
        if leader_before == old {
            self.leader = Some(id.clone());
        }
        former.protocols.clone_from(&request.protocols);
        former.seen = now;
        self.members.insert(id.clone(), former);
        if self.phase == Phase::Stable && same {
            let mut answer = self.join_answer(&id);
            // Told the former leader's id, a restarted leader acts as a follower and keeps its assignment.
            answer.leader = leader_before;
            answer.members.clear();
            return Answer::Now(answer);
        }
        self.wait(&id, request, now)
    }
}
