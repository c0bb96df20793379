//! A runner that answers by an event's value.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use keylane_engine::{
    Attempt, FailureClass, Fence, Outcome, OutgoingRecord, RunControl, RunReport, RunStand, Runner, TopicId,
};
use tokio::sync::Semaphore;

use crate::bench::{PATIENCE, emitted};

/// Answers by the event's value: `retry`, `retry-once` (its first attempt), `reject`, `undeliverable`,
/// `effects`, `panic`, `panic-beside` (a `block`), `wait` (for a permit of the gate), `slow` (10 ms),
/// `waited` (10 ms for its database, all of its run), `block` (the thread, as a component does that does not
/// yield), else done. Of a whole run it says how it stands: `overtaken`, `in-doubt`, and `conflict` as often as
/// there are conflicts.
#[derive(Default)]
pub struct Scripted {
    pub seen: Mutex<Vec<(i64, u32)>>,
    pub running: Mutex<BTreeMap<(i32, u64), i64>>,
    pub gate: Gate,
    pub blocks: Gate,
    pub unblock: Block,
    pub conflicts: AtomicUsize,
    /// Whether each event that is done gives out a record.
    pub emits: AtomicBool,
    /// What each run was given: how many events, under which fence, of which topic.
    pub runs: Mutex<Vec<(usize, Option<Fence>, TopicId)>>,
}

/// Passed by whoever finds a permit; there is none at first.
pub struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Gate {
    pub fn add_permits(&self, permits: usize) {
        self.0.add_permits(permits);
    }

    pub async fn pass(&self) {
        self.0.acquire().await.unwrap().forget();
    }
}

/// Where a thread waits for the test; not for ever, or a test that failed would not end.
#[derive(Default)]
pub struct Block(AtomicBool);

impl Block {
    pub fn open(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn wait(&self) {
        let begun = std::time::Instant::now();
        while !self.0.load(Ordering::SeqCst) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Takes a lane off the running ones, also when the run is broken off.
struct Running<'a>(&'a Scripted, (i32, u64));

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().unwrap().remove(&self.1);
    }
}

impl Scripted {
    fn meets_a_conflict(&self, attempts: &[Attempt]) -> bool {
        let conflicting = attempts.iter().any(|attempt| attempt.event.value.as_deref() == Some(b"conflict"));
        let left = self.conflicts.load(Ordering::SeqCst);
        if conflicting && left > 0 {
            self.conflicts.store(left - 1, Ordering::SeqCst);
        }
        conflicting && left > 0
    }

    fn outputs(&self, attempts: &[Attempt], outcomes: &[Outcome]) -> Vec<Vec<OutgoingRecord>> {
        if !self.emits.load(Ordering::SeqCst) {
            return Vec::new();
        }
        let output = |(attempt, outcome): (&Attempt, &Outcome)| match outcome {
            Outcome::Done => vec![emitted(attempt.event.offset, "done")],
            _ => Vec::new(),
        };
        attempts.iter().zip(outcomes).map(output).collect()
    }

    async fn one(&self, attempt: &Attempt) -> Outcome {
        let lane = (attempt.event.source.partition, attempt.lane);
        let overlapping = self.running.lock().unwrap().insert(lane, attempt.event.offset);
        assert_eq!(overlapping, None, "two events of a lane at once");
        let _running = Running(self, lane);
        self.seen.lock().unwrap().push((attempt.event.offset, attempt.number));
        match attempt.event.value.as_deref() {
            Some(b"retry") => failed(FailureClass::Retry),
            Some(b"retry-once") if attempt.number == 1 => failed(FailureClass::Retry),
            Some(b"undeliverable") => failed(FailureClass::Undeliverable),
            Some(b"effects") => failed(FailureClass::Effects),
            Some(b"reject") => failed(FailureClass::Reject),
            Some(b"panic") => panic!("a fault of the host, on purpose"),
            Some(b"panic-beside") => {
                self.blocks.pass().await;
                panic!("a fault of the host, on purpose")
            }
            Some(b"wait") => {
                self.gate.pass().await;
                Outcome::Done
            }
            Some(b"block") => {
                self.blocks.add_permits(1);
                // The tasks behind this one go to another thread.
                tokio::task::block_in_place(|| self.unblock.wait());
                Outcome::Done
            }
            Some(b"slow" | b"waited") => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Outcome::Done
            }
            _ => Outcome::Done,
        }
    }
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed { class, reason: "on purpose".to_owned(), after_ms: None }
}

fn holds(attempts: &[Attempt], value: &[u8]) -> bool {
    attempts.iter().any(|attempt| attempt.event.value.as_deref() == Some(value))
}

/// What a run counts for that has waited for its database alone.
fn spent(attempts: &[Attempt]) -> Option<Duration> {
    holds(attempts, b"waited").then_some(Duration::ZERO)
}

/// How a run stands that has an event with such a value.
fn stand(attempts: &[Attempt]) -> RunStand {
    match (holds(attempts, b"overtaken"), holds(attempts, b"in-doubt")) {
        (true, _) => RunStand::Overtaken,
        (_, true) => RunStand::InDoubt("the connection is gone".to_owned()),
        _ => RunStand::Kept,
    }
}

impl Runner for Scripted {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        self.runs.lock().unwrap().push((attempts.len(), control.fence(), control.topic_id()));
        if self.meets_a_conflict(&attempts) {
            let outcomes = vec![Outcome::NotStarted; attempts.len()];
            return RunReport { conflicts: 1, ..outcomes.into() };
        }
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut stopped = Vec::new();
        for (index, attempt) in attempts.iter().enumerate() {
            let begins = !stopped.contains(&attempt.lane) && (index == 0 || control.may_begin_next());
            let outcome = if begins { self.one(attempt).await } else { Outcome::NotStarted };
            if outcome != Outcome::Done {
                stopped.push(attempt.lane);
            }
            outcomes.push(outcome);
        }
        let outputs = self.outputs(&attempts, &outcomes);
        RunReport { stand: stand(&attempts), spent: spent(&attempts), outputs, ..outcomes.into() }
    }
}
