//! What an operator may ask of a partition: to go on with a lane or with all, or to give an event up.

use super::{Partition, unreachable_lane};
use crate::charges::Charges;
use crate::lane::LaneId;
use crate::step::{Action, Ending, Halt};
use crate::waiting::Waiting;

impl Partition {
    /// One lane goes on with fresh attempts, without waiting any longer.
    pub(super) fn resume_head(&mut self, now_ms: u64, offset: i64, actions: &mut Vec<Action>) {
        let Some(id) = self.take_waiting(offset) else {
            return actions.push(Action::Refused { offset });
        };
        self.release_afresh(id);
        self.settle_halt(now_ms, offset, actions);
    }

    /// All paused lanes go on with fresh attempts, and so does a halted partition.
    pub(super) fn resume_all(&mut self, now_ms: u64) {
        while let Some(offset) = self.waiting.first_paused() {
            let Some(id) = self.take_waiting(offset) else { break };
            self.release_afresh(id);
        }
        self.unhalt(now_ms);
    }

    /// The head is given up. It ends when that is noted: whoever took the partition before would handle it.
    pub(super) fn skip_head(&mut self, offset: i64, actions: &mut Vec<Action>) {
        let Some(id) = self.take_waiting(offset) else {
            return actions.push(Action::Refused { offset });
        };
        self.wait(id, offset, Waiting::Skipping);
        actions.push(Action::Skip { offset });
    }

    /// The head ends as skipped, and its lane goes on.
    pub(super) fn head_skipped(&mut self, now_ms: u64, offset: i64, actions: &mut Vec<Action>) {
        let lane = self.waiting.remove_if(offset, |waiting| waiting == Waiting::Skipping);
        assert!(lane.is_some(), "offset {offset} was not given up by an operator");
        let Some(id) = lane else { return };
        self.release_without(id, offset);
        self.end(offset, Ending::Skipped, actions);
        self.settle_halt(now_ms, offset, actions);
    }

    /// The lane whose head is at `offset`, if that is parked or paused. What is on its way to the dead
    /// letters, or given up, can't be called back.
    fn take_waiting(&mut self, offset: i64) -> Option<LaneId> {
        let can_be_named = |waiting| matches!(waiting, Waiting::Parked { .. } | Waiting::Paused);
        self.waiting.remove_if(offset, can_be_named)
    }

    fn release_afresh(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        lane.charges = Charges::default();
        self.release(id);
    }

    /// The event at `offset` has been dealt with. If it halted the partition, the next one that is at its
    /// last step holds it, if there is any. A flood is nothing that one event can end.
    fn settle_halt(&mut self, now_ms: u64, offset: i64, actions: &mut Vec<Action>) {
        if self.halted != Some(Halt::Exhausted { offset }) {
            return;
        }
        match self.waiting.first_paused() {
            Some(next) => {
                let halt = Halt::Exhausted { offset: next };
                self.halted = Some(halt);
                actions.push(Action::Halt(halt));
            }
            None => self.unhalt(now_ms),
        }
    }

    /// What was due meanwhile is ready at once. Old endings do not count against what comes.
    fn unhalt(&mut self, now_ms: u64) {
        if self.halted.take().is_some() {
            self.recent.clear();
            self.unpark(now_ms);
        }
    }
}
