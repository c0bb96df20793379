//! What happens to a head whose attempt failed: it waits for the next one, or takes the last step.

use super::{Partition, unreachable_lane};
use crate::failure::FailureClass;
use crate::lane::{LaneId, LaneState};
use crate::policy::Then;
use crate::step::{Action, Ending, Halt};
use crate::waiting::Waiting;

impl Partition {
    /// The head failed in a run that began at `begun_ms`. It alone is charged.
    pub(super) fn fail(
        &mut self,
        now_ms: u64,
        begun_ms: u64,
        id: LaneId,
        class: FailureClass,
        after_ms: Option<u64>,
        actions: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(offset) = lane.head() else { unreachable_lane(id) };
        lane.charges.add(class, begun_ms);
        if lane.charges.are_used_up(&self.policy, class, now_ms) {
            let attempts = lane.charges.failures();
            return self.last_step(id, offset, attempts, actions);
        }
        let until_ms = lane.charges.next_try_ms(&self.policy, offset, class, after_ms, now_ms);
        self.wait(id, offset, Waiting::Parked { until_ms });
    }

    /// The head can't be handled. Nothing is buried once the partition is halted, be it by this very
    /// event: until an operator has looked, it waits at the head of its lane.
    fn last_step(&mut self, id: LaneId, offset: i64, attempts: u32, actions: &mut Vec<Action>) {
        let cause = match self.policy.then {
            Then::PauseLane => None,
            Then::Stop => Some(Halt::Exhausted { offset }),
            Then::DeadLetter => self.flood_with_one_more(),
        };
        if self.policy.then == Then::DeadLetter && self.halted.or(cause).is_none() {
            self.wait(id, offset, Waiting::Burying);
            return actions.push(Action::Bury { offset, attempts });
        }
        self.wait(id, offset, Waiting::Paused);
        actions.push(Action::Pause { offset });
        if let (None, Some(cause)) = (self.halted, cause) {
            self.halted = Some(cause);
            actions.push(Action::Halt(cause));
        }
    }

    /// Whether one more bad ending is a flood.
    fn flood_with_one_more(&mut self) -> Option<Halt> {
        self.note_ending(true);
        let (bad, of) = self.recent.flooded(&self.policy.flood?)?;
        Some(Halt::Flood { bad, of })
    }

    /// Tells the flood breaker how an event ended, where there is one.
    pub(super) fn note_ending(&mut self, bad: bool) {
        if let Some(flood) = self.policy.flood.filter(|_| self.policy.then == Then::DeadLetter) {
            self.recent.note(&flood, bad);
        }
    }

    pub(super) fn wait(&mut self, id: LaneId, offset: i64, waiting: Waiting) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        lane.state = LaneState::Waiting;
        self.waiting.insert(offset, id, waiting);
    }

    pub(super) fn buried(&mut self, offset: i64, actions: &mut Vec<Action>) {
        if !self.condemned.remove(&offset) {
            let lane = self.waiting.remove_if(offset, |waiting| waiting == Waiting::Burying);
            assert!(lane.is_some(), "offset {offset} was not on its way to the dead letters");
            let Some(id) = lane else { return };
            self.release_without(id, offset);
        }
        self.end(offset, Ending::DeadLettered, actions);
    }

    /// Makes ready what has waited long enough, unless nothing may begin: then it stays parked.
    pub(super) fn unpark(&mut self, now_ms: u64) {
        while let Some(offset) = self.first_due(now_ms) {
            let lane = self.waiting.remove_if(offset, |waiting| matches!(waiting, Waiting::Parked { .. }));
            assert!(lane.is_some(), "offset {offset} has a deadline and is not parked");
            let Some(id) = lane else { return };
            self.release(id);
        }
    }

    fn first_due(&self, now_ms: u64) -> Option<i64> {
        let due = self.waiting.first_due().filter(|(until_ms, _)| *until_ms <= now_ms);
        due.filter(|_| self.halted.is_none()).map(|(_, offset)| offset)
    }
}
