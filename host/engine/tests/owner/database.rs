//! A double of a handler's write database: what it was asked to write, and what it is to answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_engine::{
    Boxed, Claims, ClaimsError, DeadLetter, Epoch, Fence, Hold, LogPosition, TopicId, TopicPartition,
};

use crate::scripted::Block;

pub const FENCE: Fence = Fence { stream: 3, replay: 0, epoch: Epoch { count: 5, nonce: 8 } };
pub const DATABASE: &str = "0123456789abcdef0123456789abcdef";

#[derive(Default)]
pub struct Database {
    /// What ended outside of runs.
    pub claimed: Mutex<Vec<(i64, &'static str)>>,
    /// The floors that were raised, and how many batches that took.
    pub floors: Mutex<Vec<(i64, usize)>>,
    /// What was kept beside them.
    pub positions: Mutex<Vec<Option<LogPosition>>>,
    /// So many batches a prune takes beside the last.
    pub batches_more: AtomicUsize,
    /// What the next claims answer instead.
    pub claim_faults: Faults,
    /// What the next prunes answer instead.
    pub prune_faults: Faults,
    /// Nothing is answered meanwhile.
    pub hangs: AtomicBool,
    /// The thread that claims or prunes is blocked, as by a driver that does not yield.
    pub blocks: AtomicBool,
    pub unblock: Block,
    /// Claims and prunes that were begun.
    pub claims_asked: AtomicUsize,
    pub prunes_asked: AtomicUsize,
    /// Of the prune that is under way.
    batches: AtomicUsize,
    pruning: AtomicUsize,
}

/// Errors to come, in order.
#[derive(Default)]
pub struct Faults(Mutex<VecDeque<ClaimsError>>);

impl Faults {
    pub fn set(&self, faults: impl IntoIterator<Item = ClaimsError>) {
        *self.0.lock().unwrap() = faults.into_iter().collect();
    }

    fn next(&self) -> Result<(), ClaimsError> {
        self.0.lock().unwrap().pop_front().map_or(Ok(()), Err)
    }
}

pub fn refused() -> ClaimsError {
    ClaimsError::Refused("the letter does not fit".to_owned())
}

pub fn unknown() -> ClaimsError {
    ClaimsError::Unknown("the connection broke at COMMIT".to_owned())
}

pub fn unavailable() -> ClaimsError {
    ClaimsError::Unavailable("the database does not answer".to_owned())
}

impl Database {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn claimed(&self) -> Vec<(i64, &'static str)> {
        self.claimed.lock().unwrap().clone()
    }

    pub fn floors(&self) -> Vec<(i64, usize)> {
        self.floors.lock().unwrap().clone()
    }

    pub fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    async fn answer(&self) {
        if self.blocks.load(Ordering::SeqCst) {
            tokio::task::block_in_place(|| self.unblock.wait());
        }
        while self.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn claim(&self, fence: Fence, offset: i64, how: &'static str) -> Result<(), ClaimsError> {
        assert_eq!(fence, FENCE);
        self.claims_asked.fetch_add(1, Ordering::SeqCst);
        self.answer().await;
        self.claim_faults.next()?;
        self.claimed.lock().unwrap().push((offset, how));
        Ok(())
    }

    async fn prune(
        &self,
        fence: Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Result<bool, ClaimsError> {
        assert_eq!(fence, FENCE);
        assert_eq!(self.pruning.fetch_add(1, Ordering::SeqCst), 0, "two prunes at once");
        let _pruning = Pruning(&self.pruning);
        self.prunes_asked.fetch_add(1, Ordering::SeqCst);
        self.answer().await;
        self.prune_faults.next()?;
        let batches = self.batches.fetch_add(1, Ordering::SeqCst) + 1;
        let more = batches <= self.batches_more.load(Ordering::SeqCst);
        if !more {
            self.batches.store(0, Ordering::SeqCst);
            self.floors.lock().unwrap().push((floor, batches));
            self.positions.lock().unwrap().push(position);
        }
        Ok(more)
    }
}

/// One that is broken off prunes no more.
struct Pruning<'a>(&'a AtomicUsize);

impl Drop for Pruning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Claims for Database {
    fn database(&self) -> &str {
        DATABASE
    }

    fn settle<'a>(
        &'a self,
        _topic: &'a str,
        _topic_id: TopicId,
        _offered: &'a [(i32, i64)],
    ) -> Boxed<'a, Result<BTreeMap<i32, i64>, ClaimsError>> {
        unreachable!("an owner settles nothing")
    }

    fn take<'a>(
        &'a self,
        _partition: &'a TopicPartition,
        _topic_id: TopicId,
    ) -> Boxed<'a, Result<Option<Hold>, ClaimsError>> {
        unreachable!("an owner takes nothing")
    }

    fn bury(&self, fence: Fence, letter: DeadLetter) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(async move { self.claim(fence, letter.event.offset, "dead-lettered").await })
    }

    fn skip(&self, fence: Fence, offset: i64) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(self.claim(fence, offset, "skipped"))
    }

    fn raise_floor(
        &self,
        fence: Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<bool, ClaimsError>> {
        Box::pin(self.prune(fence, floor, position))
    }
}
