//! The state machine of one assigned partition.

use std::collections::{BTreeMap, BTreeSet};

use crate::backoff;
use crate::lane::{Lane, LaneId, LaneState, Pending};
use crate::ledger::Ledger;
use crate::policy::Policy;
use crate::run;
use crate::step::{Action, Ending, Input, RunAttempt, RunId, Verdict};

/// One assignment of one partition: lanes, runs that are out, and the watermark.
///
/// Driven by [`Partition::step`]; everything else only looks.
#[derive(Debug)]
pub struct Partition {
    policy: Policy,
    lanes: BTreeMap<LaneId, Lane>,
    /// Ready lanes by the offset of their head. The oldest is served first, so that the watermark keeps
    /// moving and a retried head does not wait behind everything that came after it. Nothing starves:
    /// what arrives later stands behind.
    ready: BTreeSet<(i64, LaneId)>,
    /// Events queued in ready lanes.
    ready_events: usize,
    /// Parked lanes by deadline.
    parked: BTreeSet<(u64, LaneId)>,
    /// Runs that are out.
    runs: BTreeMap<RunId, Vec<RunAttempt>>,
    /// Events on their way to the dead letters: those that were never handled have no lane.
    burying: BTreeMap<i64, Option<LaneId>>,
    runs_begun: u64,
    ledger: Ledger,
}

impl Partition {
    /// A partition that has just been assigned: empty.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        assert!(policy.attempts_max >= 1 && policy.run_events_max >= 1 && policy.gap_max >= 1);
        Self {
            policy,
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            ready_events: 0,
            parked: BTreeSet::new(),
            runs: BTreeMap::new(),
            burying: BTreeMap::new(),
            runs_begun: 0,
            ledger: Ledger::default(),
        }
    }

    /// Takes one input at `now_ms` (any clock that never goes back) and appends what must be done to
    /// `actions`, in order.
    pub fn step(&mut self, now_ms: u64, input: Input, actions: &mut Vec<Action>) {
        match input {
            Input::Arrived { offset, lane } => self.arrive(offset, lane),
            Input::Skipped { offset } => self.skip(offset, actions),
            Input::Condemned { offset } => self.condemn(offset, actions),
            Input::Slot { free } => actions.push(self.fill_slot(free)),
            Input::RunEnded { run, verdicts } => self.end_run(now_ms, run, &verdicts, actions),
            Input::Buried { offset } => self.buried(offset, actions),
            Input::Tick => self.unpark(now_ms),
        }
    }

    /// The offset below which every event has ended; none before the first arrival.
    #[must_use]
    pub fn watermark(&self) -> Option<i64> {
        self.ledger.watermark()
    }

    /// Whether a slot would be put to use now.
    #[must_use]
    pub fn wants_slot(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether more records may arrive, as far as the gap above the watermark is concerned.
    #[must_use]
    pub fn admits(&self) -> bool {
        self.ledger.span() < self.policy.gap_max
    }

    /// When the first parked lane becomes ready, on the clock given to [`Self::step`].
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.parked.first().map(|(until_ms, _)| *until_ms)
    }

    /// Whether nothing is out: no run and no dead letter.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.runs.is_empty() && self.burying.is_empty()
    }

    /// Lanes that wait for a later attempt.
    #[must_use]
    pub fn parked_lanes(&self) -> usize {
        self.parked.len()
    }

    /// Records between the watermark and the newest arrival.
    #[must_use]
    pub fn gap(&self) -> usize {
        self.ledger.span()
    }

    fn arrive(&mut self, offset: i64, id: LaneId) {
        self.ledger.arrive(offset);
        let event = Pending { offset, failures: 0 };
        match self.lanes.get_mut(&id) {
            Some(lane) => {
                lane.push(event);
                self.ready_events += usize::from(lane.state == LaneState::Ready);
            }
            None => {
                self.lanes.insert(id, Lane::with(event));
                self.ready.insert((offset, id));
                self.ready_events += 1;
            }
        }
    }

    fn skip(&mut self, offset: i64, actions: &mut Vec<Action>) {
        self.ledger.arrive(offset);
        self.end(offset, Ending::Skipped, actions);
    }

    fn condemn(&mut self, offset: i64, actions: &mut Vec<Action>) {
        self.ledger.arrive(offset);
        self.burying.insert(offset, None);
        actions.push(Action::Bury { offset, attempts: 0 });
    }

    fn fill_slot(&mut self, free: usize) -> Action {
        let length = run::length(self.ready_events, free, self.policy.run_events_max);
        let share = run::share(length, self.ready.len());
        let mut attempts = Vec::with_capacity(length);
        while attempts.len() < length {
            let Some((_, id)) = self.ready.pop_first() else { break };
            let room = share.min(length - attempts.len());
            self.take(id, room, &mut attempts);
        }
        assert!(
            !self.ready.is_empty() || self.ready_events == 0,
            "{} events ready in no lane",
            self.ready_events
        );
        if attempts.is_empty() {
            return Action::Decline;
        }
        self.runs_begun += 1;
        let run = RunId(self.runs_begun);
        self.runs.insert(run, attempts.clone());
        Action::Start { run, attempts }
    }

    /// Moves up to `room` events of a ready lane into a run.
    fn take(&mut self, id: LaneId, room: usize, attempts: &mut Vec<RunAttempt>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let taken = lane.takeable().min(room);
        assert!(taken >= 1, "a ready lane has events and a run has room");
        self.ready_events -= lane.queue.len();
        lane.state = LaneState::Running { taken };
        let chosen = lane.queue.iter().take(taken);
        attempts.extend(chosen.map(|event| RunAttempt {
            offset: event.offset,
            number: event.failures + 1,
            lane: id,
        }));
    }

    fn end_run(&mut self, now_ms: u64, id: RunId, verdicts: &[Verdict], actions: &mut Vec<Action>) {
        let attempts = self.runs.remove(&id);
        assert!(attempts.is_some(), "run {id:?} ended twice or was never begun");
        let attempts = attempts.unwrap_or_default();
        assert_eq!(attempts.len(), verdicts.len(), "a run answers one verdict for each attempt");
        let mut verdicts = verdicts.iter();
        for (lane, of_lane) in run::by_lane(&attempts) {
            let answers: Vec<Verdict> = verdicts.by_ref().take(of_lane.len()).copied().collect();
            self.end_lane_in_run(now_ms, lane, &answers, actions);
        }
    }

    /// Takes what a run answered for one lane: endings from the front, then at most one failure.
    fn end_lane_in_run(&mut self, now_ms: u64, id: LaneId, verdicts: &[Verdict], actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        assert_eq!(lane.state, LaneState::Running { taken: verdicts.len() }, "the lane is not in this run");
        let done = verdicts.iter().take_while(|verdict| **verdict == Verdict::Done).count();
        let rest_untouched = verdicts.iter().skip(done + 1).all(|verdict| *verdict == Verdict::NotStarted);
        assert!(rest_untouched, "events of a lane went on after a failure: {verdicts:?}");
        let ended: Vec<i64> = lane.queue.drain(..done).map(|event| event.offset).collect();
        match verdicts.get(done) {
            None | Some(Verdict::Done | Verdict::NotStarted) => self.release(id),
            Some(Verdict::Retry { after_ms }) => self.fail(now_ms, id, *after_ms, actions),
            Some(Verdict::Rejected) => self.reject(id, actions),
        }
        for offset in ended {
            self.end(offset, Ending::Done, actions);
        }
    }

    /// A lane that may go on: to its place among the ready ones, or out of existence.
    fn release(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(head) = lane.queue.front() else {
            self.lanes.remove(&id);
            return;
        };
        lane.state = LaneState::Ready;
        self.ready_events += lane.queue.len();
        self.ready.insert((head.offset, id));
    }

    /// The head failed: it waits at its lane's head, or its attempts are used up.
    fn fail(&mut self, now_ms: u64, id: LaneId, after_ms: Option<u64>, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(head) = lane.queue.front_mut() else { unreachable_lane(id) };
        head.failures += 1;
        if head.failures >= self.policy.attempts_max {
            return self.bury_head(id, actions);
        }
        let wish_ms = after_ms.unwrap_or(0).min(self.policy.backoff_max_ms);
        let wait_ms = wish_ms.max(backoff::wait_ms(&self.policy, head.offset, head.failures));
        let until_ms = now_ms.saturating_add(wait_ms);
        lane.state = LaneState::Parked { until_ms };
        self.parked.insert((until_ms, id));
    }

    fn reject(&mut self, id: LaneId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(head) = lane.queue.front_mut() else { unreachable_lane(id) };
        head.failures += 1;
        self.bury_head(id, actions);
    }

    fn bury_head(&mut self, id: LaneId, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(head) = lane.queue.front() else { unreachable_lane(id) };
        lane.state = LaneState::Burying;
        self.burying.insert(head.offset, Some(id));
        actions.push(Action::Bury { offset: head.offset, attempts: head.failures });
    }

    fn buried(&mut self, offset: i64, actions: &mut Vec<Action>) {
        let lane = self.burying.remove(&offset);
        assert!(lane.is_some(), "offset {offset} was not on its way to the dead letters");
        if let Some(id) = lane.flatten() {
            let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
            assert_eq!(lane.state, LaneState::Burying);
            let head = lane.queue.pop_front().map(|event| event.offset);
            assert_eq!(head, Some(offset), "another event than the head was buried");
            self.release(id);
        }
        self.end(offset, Ending::DeadLettered, actions);
    }

    fn unpark(&mut self, now_ms: u64) {
        while let Some((until_ms, id)) =
            self.parked.first().copied().filter(|(until_ms, _)| *until_ms <= now_ms)
        {
            self.parked.pop_first();
            let state = self.lanes.get(&id).map(|lane| lane.state);
            assert_eq!(state, Some(LaneState::Parked { until_ms }), "a parked lane keeps its deadline");
            self.release(id);
        }
    }

    fn end(&mut self, offset: i64, ending: Ending, actions: &mut Vec<Action>) {
        let before = self.ledger.watermark();
        self.ledger.end(offset);
        assert!(self.ledger.watermark() >= before, "the watermark went back");
        actions.push(Action::End { offset, ending });
    }
}

/// A lane that is named by a queue, a run or a deadline exists and has a head: anything else is a bug of
/// this crate, and going on would break the order that was promised.
fn unreachable_lane(id: LaneId) -> ! {
    unreachable!("lane {id:?} is named but does not exist or is empty")
}
