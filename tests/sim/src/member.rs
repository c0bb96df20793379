//! The model of the client's membership: heartbeats in the background, and changes of the assignment for
//! the poller, one at a time, each of which it answers.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::process::Process;
use crate::wire::{Answer, Request};

/// A change of this member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Assigned(BTreeSet<i32>),
    Revoked { partitions: BTreeSet<i32>, lost: bool },
}

#[derive(Debug, Default)]
struct State {
    id: Option<u64>,
    epoch: u64,
    owned: BTreeSet<i32>,
    change: Option<Change>,
    /// The poller has taken a change and not answered it yet.
    answering: bool,
    leaving: bool,
}

impl State {
    fn is_busy(&self) -> bool {
        self.change.is_some() || self.answering
    }
}

/// Shared by the task that keeps the membership and the poller.
pub struct Membership {
    handler: u8,
    state: Mutex<State>,
    /// Wakes the task.
    nudge: Notify,
    /// Wakes the poller.
    doorbell: Arc<Notify>,
}

impl Membership {
    pub fn new(handler: u8, doorbell: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self { handler, state: Mutex::default(), nudge: Notify::new(), doorbell })
    }

    /// The change that waits for an answer, if there is one.
    pub fn take_change(&self) -> Option<Change> {
        let mut state = self.state.lock().unwrap();
        let change = state.change.take()?;
        state.answering = true;
        Some(change)
    }

    /// Whether a change waits for the poller.
    pub fn has_change(&self) -> bool {
        self.state.lock().unwrap().change.is_some()
    }

    /// The poller has done what the change asked for.
    pub fn answer(&self, change: &Change) {
        let mut state = self.state.lock().unwrap();
        state.answering = false;
        if let Change::Revoked { partitions, lost: false } = change {
            state.owned.retain(|partition| !partitions.contains(partition));
        }
        self.nudge.notify_one();
    }

    /// Who this member is for a commit that is sent now, if it is one.
    pub fn identity(&self) -> Option<(u64, u64)> {
        let state = self.state.lock().unwrap();
        state.id.map(|id| (id, state.epoch))
    }

    /// Says goodbye to the group.
    pub fn leave(&self) {
        self.state.lock().unwrap().leaving = true;
        self.nudge.notify_one();
    }

    /// Keeps the membership until it is told to leave.
    pub async fn keep(self: Arc<Self>, process: Arc<Process>) {
        let heartbeat = Duration::from_millis(process.plan.group.heartbeat_ms);
        let session = Duration::from_millis(process.plan.group.session_ms);
        let request = Duration::from_millis(process.plan.group.request_ms);
        let mut heard = Instant::now();
        loop {
            let (id, owned, leaving) = {
                let state = self.state.lock().unwrap();
                (state.id, state.owned.clone(), state.leaving)
            };
            if leaving {
                if let Some(member) = id {
                    let _answer = process.wire.ask(self.handler, Request::Leave { member }, request).await;
                }
                return;
            }
            let asked = Request::Heartbeat { member: id, owned };
            match process.wire.ask(self.handler, asked, request).await {
                Some(Answer::Welcome(welcome)) => {
                    heard = Instant::now();
                    let mut state = self.state.lock().unwrap();
                    state.id = Some(welcome.member);
                    state.epoch = welcome.epoch;
                    self.notice(&mut state, &welcome.assigned);
                }
                Some(Answer::UnknownMember) => self.lose(&mut heard).await,
                _ if id.is_some() && heard.elapsed() >= session => self.lose(&mut heard).await,
                _ => {}
            }
            tokio::select! {
                biased;
                () = self.nudge.notified() => {}
                () = tokio::time::sleep(heartbeat) => {}
            }
        }
    }

    /// What the coordinator allows differs from what is owned: the poller has something to do. Only one
    /// change at a time.
    fn notice(&self, state: &mut State, assigned: &BTreeSet<i32>) {
        if state.is_busy() || state.leaving {
            return;
        }
        let back: BTreeSet<i32> = state.owned.difference(assigned).copied().collect();
        let new: BTreeSet<i32> = assigned.difference(&state.owned).copied().collect();
        if !back.is_empty() {
            state.change = Some(Change::Revoked { partitions: back, lost: false });
        } else if !new.is_empty() {
            state.owned.extend(&new);
            state.change = Some(Change::Assigned(new));
        } else {
            return;
        }
        self.doorbell.notify_one();
    }

    /// The group has given this member up. It joins anew when the poller has put everything down.
    async fn lose(&self, heard: &mut Instant) {
        {
            let mut state = self.state.lock().unwrap();
            state.id = None;
        }
        self.until_idle(true).await;
        {
            let mut state = self.state.lock().unwrap();
            let partitions = std::mem::take(&mut state.owned);
            state.change = Some(Change::Revoked { partitions, lost: true });
        }
        self.doorbell.notify_one();
        self.until_idle(false).await;
        *heard = Instant::now();
    }

    /// Waits until the poller has nothing in hand; what it has not taken yet may be taken back.
    async fn until_idle(&self, takes_back: bool) {
        loop {
            {
                let mut state = self.state.lock().unwrap();
                if takes_back {
                    state.change = None;
                }
                if !state.is_busy() || state.leaving {
                    return;
                }
            }
            self.nudge.notified().await;
        }
    }
}
