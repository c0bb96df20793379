//! Commits: what has moved, and everything every third of the session. One at a time is under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{PAYLOAD_UNITS_HIGH, Progress};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::Instant;

use super::Poller;
use super::feed::Feed;
use super::putting_down::Parting;
use crate::coordinator::Position;
use crate::mutation::Mutation;
use crate::trace::{Note, Place};
use crate::wire::{Answer, Request};

/// The wait before a final commit that was refused is tried again.
const FINAL_RETRY: Duration = Duration::from_millis(20);

/// One partition's part of a commit.
#[derive(Debug, Clone)]
pub struct Item {
    pub place: Place,
    /// The assignment's number.
    pub number: u64,
    pub offset: i64,
    pub payload: Arc<str>,
    pub truncated: bool,
}

/// A commit that is under way.
struct UnderWay {
    answer: oneshot::Receiver<Answer>,
    items: Vec<Item>,
    /// On the boot-time clock.
    sent: Duration,
    /// When its answer is given up.
    until: Instant,
}

/// The poller's commits.
pub struct Commits {
    next: Instant,
    under_way: Option<UnderWay>,
    /// When the last one was sent, on the boot-time clock.
    last_sent: Option<Duration>,
    /// A commit of a handler in cuts failed on its way, and none was acknowledged since: it may be carried out yet.
    astray: bool,
    /// What the coordinator is known to have of each assignment.
    stands: BTreeMap<u64, (i64, Arc<str>)>,
    /// What the mutations remember of assignments that are over.
    pub remembered: Vec<Item>,
}

impl Commits {
    pub fn new(now: Instant) -> Self {
        let (stands, remembered) = (BTreeMap::new(), Vec::new());
        Self { next: now, under_way: None, last_sent: None, astray: false, stands, remembered }
    }

    /// Whether the coordinator is known to have this.
    pub fn has(&self, item: &Item) -> bool {
        self.stands.get(&item.number) == Some(&(item.offset, item.payload.clone()))
    }

    pub fn forget(&mut self, number: u64) {
        self.stands.remove(&number);
    }

    /// Whether no commit is under way.
    pub fn is_answered(&self) -> bool {
        self.under_way.is_none()
    }

    pub fn is_astray(&self) -> bool {
        self.astray
    }

    /// A cut proves the membership as well as a commit does.
    pub fn note_sent(&mut self, sent: Duration) {
        self.last_sent = Some(sent);
    }

    /// A cut has committed this. An assignment that is forgotten is not brought back.
    pub fn learn(&mut self, item: Item) {
        if let Some(stand) = self.stands.get_mut(&item.number) {
            *stand = (item.offset, item.payload);
        }
    }

    /// What the coordinator is known to have of this assignment.
    fn unchanged(&self, place: Place, number: u64) -> Option<Item> {
        let (offset, payload) = self.stands.get(&number)?.clone();
        Some(Item { place, number, offset, payload, truncated: false })
    }
}

impl Item {
    pub fn new(place: Place, number: u64, progress: &Progress) -> Self {
        let Progress { offset, payload, truncated, .. } = progress.clone();
        Self { place, number, offset, payload, truncated }
    }
}

impl Poller {
    /// Takes the answer if it came, and commits what is due.
    pub(super) fn commit(&mut self) {
        self.take_answer();
        let third = Duration::from_millis(self.process.plan.group.session_ms / 3);
        let all = self.commits.last_sent.is_none_or(|at| self.lease.now().saturating_sub(at) >= third);
        let now = Instant::now();
        let proves = self.proof_failed() || self.commits.astray;
        let all = all || (proves && now >= self.commits.next);
        if self.cuts.is_some() && !self.turn_cuts(&[], all) {
            return;
        }
        if self.commits.under_way.is_some() || (now < self.commits.next && !all) {
            return;
        }
        self.commits.next = now + Duration::from_millis(self.process.plan.group.commit_every_ms);
        let mut items: Vec<Item> = Vec::new();
        let feeds = self.feeds.iter_mut().filter(|feed| !feed.inbox.ownership().is_lost());
        for feed in feeds {
            // Checked, read and handed over in one step, since this task alone does all three.
            if let Some(cuts) = &self.cuts {
                // After a cut in doubt the coordinator may have more than is known.
                let proves = self.process.mutated(Mutation::ProvesTheDoubtful);
                if proves || !cuts.is_set_back(feed.place.partition) {
                    items.extend(self.commits.unchanged(feed.place, feed.number));
                }
                continue;
            }
            let progress = feed.inbox.progress();
            assert_eq!(progress.token, feed.token, "an inbox tells the progress of another assignment");
            let torn = self.process.mutated(Mutation::TornSnapshot);
            let item = Item::new(feed.place, feed.number, &if torn { feed.torn(progress) } else { progress });
            if all || !self.commits.has(&item) {
                items.push(item);
            }
        }
        items.extend(self.remembered());
        self.hand_over(items, false);
    }

    /// What the mutations commit beside.
    fn remembered(&mut self) -> Vec<Item> {
        let Self { feeds, commits, .. } = self;
        let owned = |item: &mut Item| feeds.iter().any(|feed: &Feed| feed.place == item.place);
        if self.process.mutated(Mutation::IgnoresToken) {
            commits.remembered.extract_if(.., owned).collect()
        } else if self.membership.identity().is_some() {
            std::mem::take(&mut commits.remembered)
        } else {
            Vec::new()
        }
    }

    /// Commits the final progress of partitions that are about to be given up, and waits for the answer;
    /// tries again where it was refused. What the coordinator has then is in the stands.
    pub(super) async fn finish(&mut self, partings: &[Parting]) {
        let until = Instant::now() + Duration::from_millis(self.process.plan.group.request_ms);
        self.await_answer(until).await;
        // What is not cut by now is done again.
        if self.cuts.is_some() {
            return;
        }
        loop {
            let missing: Vec<Item> =
                partings.iter().map(|one| one.item.clone()).filter(|item| !self.commits.has(item)).collect();
            if missing.is_empty() || self.commits.under_way.is_some() || !self.hand_over(missing, false) {
                return;
            }
            let answered = self.await_answer(until).await;
            if !answered || Instant::now() + FINAL_RETRY >= until {
                return;
            }
            tokio::time::sleep(FINAL_RETRY).await;
        }
    }

    /// Commits what partitions start with, to prove the membership before anything of them runs. Answers
    /// whether the coordinator has it all.
    pub(super) async fn prove(&mut self, items: Vec<Item>) -> bool {
        let until = Instant::now() + Duration::from_millis(self.process.plan.group.request_ms);
        self.await_answer(until).await;
        if self.commits.under_way.is_some() || !self.hand_over(items.clone(), true) {
            return false;
        }
        self.await_answer(until).await;
        items.iter().all(|item| self.commits.has(item))
    }

    /// Hands a commit to the client. Answers whether there was anything, and anybody to send it as.
    fn hand_over(&mut self, items: Vec<Item>, proof: bool) -> bool {
        let Some((member, epoch)) = self.membership.identity().filter(|_| !items.is_empty()) else {
            return false;
        };
        let mut positions = Vec::new();
        for Item { place, number, offset, payload, truncated } in items.clone() {
            let (metadata, sequence) = (payload.as_bytes().to_vec(), self.process.next_number());
            positions.push(Position { partition: place.partition, offset, metadata, number, sequence });
            if truncated {
                self.process.saw("payload cut");
            }
            if payload.len() > PAYLOAD_UNITS_HIGH {
                self.process.saw("payload high");
            }
            self.process.note(if proof {
                Note::Proving { place, number, offset, payload }
            } else {
                Note::Submitted { place, number, offset, payload, truncated }
            });
        }
        let answer = self.process.wire.send(self.handler, Request::Commit { member, epoch, positions });
        let until = Instant::now() + Duration::from_millis(self.process.plan.group.request_ms);
        let sent = self.lease.now();
        self.commits.last_sent = Some(sent);
        self.commits.under_way = Some(UnderWay { answer, items, sent, until });
        true
    }

    /// Before the last cut of what is given up another commit makes up for one that failed on its way.
    pub(super) async fn make_up_for_astray(&mut self, gone: &[Feed], until: Instant) {
        if !self.commits.astray || self.commits.under_way.is_some() || self.is_cutting() {
            return;
        }
        let feeds = gone.iter().chain(&self.feeds).filter(|feed| !feed.inbox.ownership().is_lost());
        let certain =
            |feed: &&Feed| self.cuts.as_ref().is_none_or(|cuts| !cuts.is_set_back(feed.place.partition));
        let items = feeds.filter(certain).filter_map(|feed| self.commits.unchanged(feed.place, feed.number));
        let items = items.collect();
        if self.hand_over(items, false) {
            self.process.saw("cut: made up for a commit astray");
            self.await_answer(until).await;
        }
    }

    /// Nobody will answer what is under way.
    fn lose(&mut self) {
        self.commits.under_way = None;
        if self.cuts.is_some() {
            self.process.saw("cut: behind a commit astray");
            self.commits.astray = true;
        }
    }

    pub(super) fn take_answer(&mut self) {
        let Some(under_way) = &mut self.commits.under_way else { return };
        match under_way.answer.try_recv() {
            Ok(answer) => {
                if let Some(under_way) = self.commits.under_way.take() {
                    self.settle(under_way, answer);
                }
            }
            Err(TryRecvError::Empty) if Instant::now() < under_way.until => {}
            Err(_) => self.lose(),
        }
    }

    /// Waits for the answer to what is under way, up to a limit. Answers whether one came.
    async fn await_answer(&mut self, until: Instant) -> bool {
        let Some(mut under_way) = self.commits.under_way.take() else { return false };
        match tokio::time::timeout_at(until.min(under_way.until), &mut under_way.answer).await {
            Ok(Ok(answer)) => {
                self.settle(under_way, answer);
                true
            }
            Err(_) if Instant::now() < under_way.until => {
                self.commits.under_way = Some(under_way);
                false
            }
            Ok(Err(_)) | Err(_) => {
                self.lose();
                false
            }
        }
    }

    fn settle(&mut self, under_way: UnderWay, answer: Answer) {
        let Answer::Committed(parts) = answer else { return self.note_proof(false) };
        let UnderWay { items, sent, .. } = under_way;
        let taken: Vec<i32> = parts.iter().filter(|(_, part)| part.is_ok()).map(|(one, _)| *one).collect();
        self.note_proof(!taken.is_empty());
        if taken.is_empty() {
            return;
        }
        self.commits.astray = false;
        self.lease.renew(sent);
        let (handler, sent_ms) = (self.handler, sent.as_millis() as u64);
        self.process.note(Note::Acknowledged { handler, sent_ms });
        for item in items.into_iter().filter(|item| taken.contains(&item.place.partition)) {
            self.commits.stands.insert(item.number, (item.offset, item.payload));
        }
    }
}
