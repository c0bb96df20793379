//! The owner task of one assigned partition: it alone holds the partition's lanes and events.
//!
//! Who owns: this task, everything of the partition. Who waits: the task, on batches, ended runs, dead
//! letters, a slot, the next deadline and the wish to drain. Who wakes: the poller (batches, drain), run
//! and burial tasks (by ending), the slot semaphore, the timer. What bounds: the inbox limits (records
//! and bytes), the policy's gap (ledger), the handler's slots (runs).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use keylane_lanes::{Action, Ending, Input, Partition, RunId, Verdict};
use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::admission::Admission;
use crate::burial;
use crate::event::Event;
use crate::handler::Shared;
use crate::held::HeldEvents;
use crate::inbox::{Intake, Ownership};
use crate::meters::Meters;
use crate::ports::{DeadLetters, FailureClass, Outcome, Runner};
use crate::tally::Count;

type SlotRequest = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A run that has come back: one outcome for each offset.
struct EndedRun {
    run: RunId,
    /// Offset and number of each attempt.
    attempts: Vec<(i64, u32)>,
    outcomes: Vec<Outcome>,
}

pub(crate) struct Owner<R, D> {
    shared: Arc<Shared<R, D>>,
    intake: Intake,
    lanes: Partition,
    held: HeldEvents,
    runs: JoinSet<EndedRun>,
    burials: JoinSet<i64>,
    /// Kept while it waits, so that this partition keeps its place among those that wait for a slot.
    slot: Option<SlotRequest>,
    draining: bool,
    begun: Instant,
    meters: Meters,
}

/// What woke the owner.
enum Woken {
    Batch(Option<Vec<Event>>),
    Slot(Result<OwnedSemaphorePermit, AcquireError>),
    RunEnded(Result<EndedRun, JoinError>),
    Buried(Result<i64, JoinError>),
    Deadline,
    Drain,
    Lost,
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    pub(crate) fn new(shared: Arc<Shared<R, D>>, intake: Intake) -> Self {
        let meters = Meters::new(&shared.options.name, &intake.partition);
        Self {
            lanes: Partition::new(shared.options.policy),
            shared,
            intake,
            held: HeldEvents::default(),
            runs: JoinSet::new(),
            burials: JoinSet::new(),
            slot: None,
            draining: false,
            begun: Instant::now(),
            meters,
        }
    }

    /// Lives as long as the assignment: until the poller drops its end of the inbox, and until the runs
    /// that were out then are broken off, which rolls their effects back.
    pub(crate) async fn run(mut self) {
        loop {
            self.report();
            if self.draining && self.lanes.is_quiet() {
                self.intake.ownership.send_replace(Ownership::Drained);
            }
            self.ask_for_slot();
            match self.woken().await {
                Woken::Batch(Some(events)) => self.admit(events),
                Woken::Slot(Ok(permit)) => self.start_run(permit),
                Woken::RunEnded(ended) => self.end_run(joined(ended)),
                Woken::Buried(buried) => self.step(Input::Buried { offset: joined(buried) }),
                Woken::Deadline => self.step(Input::Tick),
                Woken::Drain => self.begin_draining(),
                Woken::Batch(None) | Woken::Slot(Err(_)) | Woken::Lost => return self.reap().await,
            }
        }
    }

    /// Breaks off what is out and waits until it is gone.
    async fn reap(mut self) {
        self.runs.shutdown().await;
        self.burials.shutdown().await;
    }

    async fn woken(&mut self) -> Woken {
        let admits = !self.draining && self.lanes.admits();
        let deadline = self.lanes.next_deadline_ms().filter(|_| !self.draining);
        let deadline = deadline.map(|at_ms| self.begun + Duration::from_millis(at_ms));
        // In this order: what ends comes before what begins, so that a lost partition begins nothing more.
        tokio::select! {
            biased;
            changed = self.intake.drain.changed() => changed.map_or(Woken::Lost, |()| Woken::Drain),
            Some(ended) = self.runs.join_next() => Woken::RunEnded(ended),
            Some(buried) = self.burials.join_next() => Woken::Buried(buried),
            permit = wait(self.slot.as_mut()), if self.slot.is_some() => { self.slot = None; Woken::Slot(permit) }
            () = sleep_until(deadline), if deadline.is_some() => Woken::Deadline,
            batch = self.intake.batches.recv(), if admits => Woken::Batch(batch),
        }
    }

    fn begin_draining(&mut self) {
        self.draining = true;
        self.slot = None;
        self.intake.ownership.send_replace(Ownership::Draining);
    }

    fn ask_for_slot(&mut self) {
        let wanted = self.lanes.wants_slot() && !self.draining;
        if wanted && self.slot.is_none() {
            self.slot = Some(Box::pin(self.shared.slots.clone().acquire_owned()));
        }
    }

    fn admit(&mut self, events: Vec<Event>) {
        self.shared.tally.add(Count::Arrived, events.len() as u64);
        for event in events {
            let offset = event.offset;
            let admission = self.shared.options.filter.admit(&event);
            let lane = self.shared.options.lanes.lane(&event);
            self.held.insert(event);
            match admission {
                Admission::Handle => self.step(Input::Arrived { offset, lane }),
                Admission::Skip => self.step(Input::Skipped { offset }),
                Admission::Condemn { reason } => {
                    self.held.note_failure(offset, FailureClass::Reject, reason.to_owned());
                    self.step(Input::Condemned { offset });
                }
            }
        }
    }

    fn start_run(&mut self, permit: OwnedSemaphorePermit) {
        let free = self.shared.slots.available_permits() + 1;
        let mut actions = Vec::new();
        self.lanes.step(self.now_ms(), Input::Slot { free }, &mut actions);
        let Some(Action::Start { run, attempts }) = actions.pop() else { return };
        let numbers: Vec<_> = attempts.iter().map(|attempt| (attempt.offset, attempt.number)).collect();
        let attempts = self.held.attempts(&attempts);
        self.meters.run_events.record(attempts.len() as f64);
        let runner = self.shared.runner.clone();
        self.runs.spawn(async move {
            let outcomes = runner.run(attempts).await;
            drop(permit);
            EndedRun { run, attempts: numbers, outcomes }
        });
    }

    fn end_run(&mut self, ended: EndedRun) {
        let mut verdicts = Vec::with_capacity(ended.outcomes.len());
        for ((offset, number), outcome) in ended.attempts.into_iter().zip(ended.outcomes) {
            verdicts.push(match outcome {
                Outcome::Done => Verdict::Done,
                Outcome::NotStarted => Verdict::NotStarted,
                Outcome::Failed { class, reason, after_ms } => {
                    self.failed(offset, class, reason);
                    self.verdict(number, class, after_ms)
                }
            });
        }
        self.step(Input::RunEnded { run: ended.run, verdicts });
    }

    fn failed(&mut self, offset: i64, class: FailureClass, reason: String) {
        tracing::warn!(
            handler = self.shared.options.name,
            source = %self.intake.partition,
            offset,
            class = class.name(),
            reason,
            "an attempt failed"
        );
        self.meters.failed.increment(1);
        self.held.note_failure(offset, class, reason);
    }

    fn verdict(&self, number: u32, class: FailureClass, after_ms: Option<u64>) -> Verdict {
        if !class.can_retry() {
            return Verdict::Rejected;
        }
        let comes_back = number < self.shared.options.policy.attempts_max;
        self.shared.tally.add(Count::Retried, u64::from(comes_back));
        Verdict::Retry { after_ms }
    }

    /// Takes one input and carries out what the lanes answer.
    fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.lanes.step(self.now_ms(), input, &mut actions);
        for action in actions {
            match action {
                Action::Bury { offset, attempts } => self.bury(offset, attempts),
                Action::End { offset, ending } => self.end(offset, ending),
                // Only a slot is answered by these two, and slots go through `start_run`.
                Action::Start { .. } | Action::Decline => {}
            }
        }
    }

    fn bury(&mut self, offset: i64, attempts: u32) {
        let letter = self.held.letter(offset, attempts);
        assert!(letter.is_some(), "offset {offset} is to be buried and has no failure to tell of");
        let Some(letter) = letter else { return };
        self.burials.spawn(burial::until_acknowledged(self.shared.dead_letters.clone(), letter));
    }

    fn end(&mut self, offset: i64, ending: Ending) {
        let weight_bytes = self.held.remove(offset);
        self.intake.release(1, weight_bytes);
        match ending {
            Ending::Done => self.count(Count::Done, &self.meters.done),
            Ending::Skipped => self.count(Count::Skipped, &self.meters.skipped),
            Ending::DeadLettered => self.count(Count::DeadLettered, &self.meters.dead_lettered),
        }
    }

    fn count(&self, count: Count, meter: &metrics::Counter) {
        self.shared.tally.add(count, 1);
        meter.increment(1);
    }

    /// Publishes where the partition stands, for the committer and for the metrics.
    fn report(&mut self) {
        let watermark = self.lanes.watermark();
        self.intake.position.send_if_modified(|position| {
            let moved = position.watermark != watermark;
            position.watermark = watermark;
            moved
        });
        let (records, bytes) = self.intake.held();
        self.meters.buffered_records.set(records as f64);
        self.meters.buffered_bytes.set(bytes as f64);
        self.meters.gap_records.set(self.lanes.gap() as f64);
        self.meters.parked_lanes.set(self.lanes.parked_lanes() as f64);
        self.meters.runs.set(self.runs.len() as f64);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A run or a burial that panicked broke a promise of the host: the owner goes down with it, and the
/// partition stops loudly. They are cancelled only by dropping the owner.
fn joined<T>(ended: Result<T, JoinError>) -> T {
    match ended {
        Ok(value) => value,
        Err(fault) if fault.is_panic() => std::panic::resume_unwind(fault.into_panic()),
        Err(fault) => unreachable!("a task of a living owner was cancelled: {fault}"),
    }
}

/// Pending for ever when nothing is waited for; `select!` then never asks.
async fn wait(slot: Option<&mut SlotRequest>) -> Result<OwnedSemaphorePermit, AcquireError> {
    match slot {
        Some(slot) => slot.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
