//! Runs: how a slot is filled from ready lanes, and what a run that has ended means for them.

use super::{Partition, unreachable_lane};
use crate::lane::{LaneId, LaneState};
use crate::run::{self, RunOut};
use crate::step::{Action, Ending, RunAttempt, RunId, Verdict};

impl Partition {
    pub(super) fn fill_slot(&mut self, now_ms: u64, free: usize) -> Action {
        if self.halted.is_some() {
            return Action::Decline;
        }
        let by_time = self.pace.events_in(self.policy.slice_ms).unwrap_or(usize::MAX);
        let length = run::length(self.ready_events, free, self.squeeze.events_max().min(by_time));
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
        self.runs.insert(run, RunOut { attempts: attempts.clone(), begun_ms: now_ms });
        Action::Start { run, attempts }
    }

    /// Moves up to `room` events of a ready lane into a run.
    fn take(&mut self, id: LaneId, room: usize, attempts: &mut Vec<RunAttempt>) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let taken = lane.takeable().min(room);
        assert!(taken >= 1, "a ready lane has events and a run has room");
        self.ready_events -= lane.len();
        lane.state = LaneState::Running { taken };
        let chosen = lane.next_attempts(taken);
        attempts.extend(chosen.map(|(offset, number)| RunAttempt { offset, number, lane: id }));
    }

    pub(super) fn end_run(
        &mut self,
        now_ms: u64,
        id: RunId,
        verdicts: &[Verdict],
        spent_us: u64,
        conflicts: u32,
        actions: &mut Vec<Action>,
    ) {
        let run = self.runs.remove(&id);
        assert!(run.is_some(), "run {id:?} ended twice or was never begun");
        let Some(RunOut { attempts, begun_ms }) = run else { return };
        assert_eq!(attempts.len(), verdicts.len(), "a run answers one verdict for each attempt");
        let attempted = verdicts.iter().filter(|verdict| **verdict != Verdict::NotStarted).count();
        self.pace.note(attempted, spent_us);
        if attempted > 0 || conflicts > 0 {
            self.squeeze.note(attempts.len(), conflicts);
        }
        let mut verdicts = verdicts.iter();
        for (lane, of_lane) in run::by_lane(&attempts) {
            let answers: Vec<Verdict> = verdicts.by_ref().take(of_lane.len()).copied().collect();
            self.end_lane_in_run(now_ms, begun_ms, lane, &answers, actions);
        }
    }

    /// Takes what a run answered for one lane: endings from the front, then at most one failure.
    fn end_lane_in_run(
        &mut self,
        now_ms: u64,
        begun_ms: u64,
        id: LaneId,
        verdicts: &[Verdict],
        actions: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        assert_eq!(lane.state, LaneState::Running { taken: verdicts.len() }, "the lane is not in this run");
        let done = verdicts.iter().take_while(|verdict| **verdict == Verdict::Done).count();
        let rest_untouched = verdicts.iter().skip(done + 1).all(|verdict| *verdict == Verdict::NotStarted);
        assert!(rest_untouched, "events of a lane went on after a failure: {verdicts:?}");
        let ended: Vec<i64> = (0..done).filter_map(|_| lane.pop()).collect();
        for offset in ended {
            self.note_ending(false);
            self.end(offset, Ending::Done, actions);
        }
        match verdicts.get(done) {
            None | Some(Verdict::Done | Verdict::NotStarted) => self.release(id),
            Some(Verdict::Failed { class, after_ms }) => {
                self.fail(now_ms, begun_ms, id, *class, *after_ms, actions);
            }
        }
    }
}
