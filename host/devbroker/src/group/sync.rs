//! SyncGroup: the leader's assignments reach every member.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

use super::member::{Answer, SyncAnswer};
use super::{Group, Phase};

/// What a SyncGroup request says.
#[derive(Debug, Clone)]
pub(crate) struct SyncRequest {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// From the leader only: member id to assignment.
    pub(crate) assignments: HashMap<String, Bytes>,
}

impl Group {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn sync(&mut self, request: SyncRequest, now: Instant) -> Answer<SyncAnswer> {
        match self.try_sync(request, now) {
            Ok(answer) => answer,
            Err(error) => Answer::Now(SyncAnswer::refused(error)),
        }
    }

    fn try_sync(&mut self, request: SyncRequest, now: Instant) -> Result<Answer<SyncAnswer>, ResponseError> {
        let current = self.generation;
        let id = request.member_id.as_str();
        self.known(id, request.instance.as_deref())?;
        if request.generation != current {
            return Err(ResponseError::IllegalGeneration);
        }
        let differs = |said: &Option<String>, ours: &Option<String>| said.is_some() && said != ours;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            Phase::Stable => {
                self.known(id, None)?.seen = now;
                Ok(Answer::Now(self.sync_answer(id)))
            }
            Phase::CompletingRebalance => {
                let (answer, waiting) = oneshot::channel();
                let member = self.known(id, None)?;
                member.seen = now;
                member.syncing = Some(answer);
                if self.leader.as_deref() == Some(id) {
                    self.assign(request.assignments, now);
                }
                Ok(Answer::Later(waiting))
            }
        }
    }

    fn assign(&mut self, mut assignments: HashMap<String, Bytes>, now: Instant) {
        self.phase = Phase::Stable;
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.sync_answer(&id);
            if let Some(member) = self.members.get_mut(&id)
                && let Some(waiting) = member.syncing.take()
            {
                member.seen = now;
                let _gone = waiting.send(answer);
            }
        }
    }

    fn sync_answer(&self, id: &str) -> SyncAnswer {
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|m| m.assignment.clone()).unwrap_or_default(),
        }
    }
}
