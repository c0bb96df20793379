//! One member of a group, and the answers its requests wait for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// A member. Its two channels are the requests it has waiting.
#[derive(Debug)]
pub(crate) struct Member {
    /// The name of a static member.
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(super) session: Duration,
    pub(super) rebalance: Duration,
    /// The assignors it knows, the one it likes best first, each with what it tells the leader.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) seen: Instant,
    pub(crate) assignment: Bytes,
    pub(super) joining: Option<oneshot::Sender<JoinAnswer>>,
    pub(super) syncing: Option<oneshot::Sender<SyncAnswer>>,
}

impl Member {
    /// What it told about itself for this assignor.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, m)| m.clone()).unwrap_or_default()
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Whether it has been silent for too long. Who waits for an answer need not send heartbeats.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.joining.is_none() && self.syncing.is_none() && now >= self.seen + self.session
    }

    /// Ends what it waits for with an error.
    pub(super) fn turn_away(&mut self, id: &str, error: ResponseError) {
        if let Some(waiting) = self.joining.take() {
            // The connection may be gone; then nobody needs the answer.
            let _gone = waiting.send(JoinAnswer::refused(error, id));
        }
        if let Some(waiting) = self.syncing.take() {
            let _gone = waiting.send(SyncAnswer::refused(error));
        }
    }
}

/// An answer that is there, or a channel on which it will come.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// It is there.
    Now(T),
    /// It comes when the other members have done their part.
    Later(oneshot::Receiver<T>),
}

/// The answer to JoinGroup.
#[derive(Debug, Clone, Default)]
pub(crate) struct JoinAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// All members, for the leader; empty for the others.
    pub(crate) members: Vec<ListedMember>,
}

/// A member as the leader is told of it.
#[derive(Debug, Clone)]
pub(crate) struct ListedMember {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) metadata: Bytes,
}

impl JoinAnswer {
    pub(crate) fn refused(error: ResponseError, member_id: &str) -> Self {
        Self { error: Some(error), generation: -1, member_id: member_id.to_owned(), ..Self::default() }
    }
}

/// The answer to SyncGroup.
#[derive(Debug, Clone, Default)]
pub(crate) struct SyncAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

impl SyncAnswer {
    pub(crate) fn refused(error: ResponseError) -> Self {
        Self { error: Some(error), ..Self::default() }
    }
}
