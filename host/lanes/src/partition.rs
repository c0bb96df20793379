//! The state machine of one assigned partition.

mod failing;
mod operator;
mod running;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use crate::flood::RecentEndings;
use crate::gap::GapSet;
use crate::lane::{Lane, LaneId, LaneState};
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::policy::Policy;
use crate::run::RunOut;
use crate::squeeze::Squeeze;
use crate::step::{Action, Ending, Halt, Input, RunId};
use crate::waiting::WaitingHeads;

pub use view::{LaneCounts, LaneView};

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
    /// The heads of the lanes that are neither ready nor running.
    waiting: WaitingHeads,
    /// Runs that are out.
    runs: BTreeMap<RunId, RunOut>,
    /// Events on their way to the dead letters that were never handled and so have no lane.
    condemned: BTreeSet<i64>,
    runs_begun: u64,
    ledger: Ledger,
    pace: Pace,
    squeeze: Squeeze,
    recent: RecentEndings,
    /// Why nothing more begins, until an operator says otherwise.
    halted: Option<Halt>,
}

impl Partition {
    /// A partition that has just been assigned: empty, and reading starts at the base of what an earlier
    /// assignment left behind.
    #[must_use]
    pub fn new(policy: Policy, restored: GapSet) -> Self {
        policy.assert_sound();
        Self {
            policy,
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            ready_events: 0,
            waiting: WaitingHeads::default(),
            runs: BTreeMap::new(),
            condemned: BTreeSet::new(),
            runs_begun: 0,
            ledger: Ledger::new(restored),
            pace: Pace::default(),
            squeeze: Squeeze::new(policy.run_events_max),
            recent: RecentEndings::default(),
            halted: None,
        }
    }

    /// Takes one input at `now_ms` (any clock that never goes back) and appends what must be done to
    /// `actions`, in order.
    pub fn step(&mut self, now_ms: u64, input: Input, actions: &mut Vec<Action>) {
        let before = self.ledger.watermark();
        match input {
            Input::Arrived { offset, lane } => self.arrive(offset, lane, actions),
            Input::Skipped { offset } => self.skip(offset, actions),
            Input::Condemned { offset } => self.condemn(offset, actions),
            Input::Reached { next } => self.ledger.reach(next),
            Input::Slot { free } => actions.push(self.fill_slot(now_ms, free)),
            Input::RunEnded { run, verdicts, spent_us, conflicts } => {
                self.end_run(now_ms, run, &verdicts, spent_us, conflicts, actions);
            }
            Input::Buried { offset } => self.buried(offset, actions),
            Input::Tick => self.unpark(now_ms),
            Input::Resume { offset: Some(offset) } => self.resume_head(now_ms, offset, actions),
            Input::Resume { offset: None } => self.resume_all(now_ms),
            Input::SkipHead { offset } => self.skip_head(offset, actions),
            Input::HeadSkipped { offset } => self.head_skipped(now_ms, offset, actions),
        }
        assert!(self.ledger.watermark() >= before, "the watermark went back");
    }

    /// Notes an arrival. What had ended before ends at once, whatever it is.
    fn is_fresh(&mut self, offset: i64, actions: &mut Vec<Action>) -> bool {
        let fresh = self.ledger.arrive(offset);
        if !fresh {
            actions.push(Action::End { offset, ending: Ending::Before });
        }
        fresh
    }

    fn arrive(&mut self, offset: i64, id: LaneId, actions: &mut Vec<Action>) {
        if !self.is_fresh(offset, actions) {
            return;
        }
        match self.lanes.get_mut(&id) {
            Some(lane) => {
                lane.push(offset);
                self.ready_events += usize::from(lane.state == LaneState::Ready);
            }
            None => {
                self.lanes.insert(id, Lane::with(offset));
                self.ready.insert((offset, id));
                self.ready_events += 1;
            }
        }
    }

    fn skip(&mut self, offset: i64, actions: &mut Vec<Action>) {
        if self.is_fresh(offset, actions) {
            self.ledger.pass(offset);
            actions.push(Action::End { offset, ending: Ending::Skipped });
        }
    }

    /// A record that must be buried is buried even while the partition is halted: that is a rule of the
    /// manifest about its form, and tells nothing of the handler's health.
    fn condemn(&mut self, offset: i64, actions: &mut Vec<Action>) {
        if self.is_fresh(offset, actions) {
            self.condemned.insert(offset);
            actions.push(Action::Bury { offset, attempts: 0 });
        }
    }

    /// A lane that may go on: to its place among the ready ones, or out of existence.
    fn release(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        let Some(head) = lane.head() else {
            self.lanes.remove(&id);
            return;
        };
        lane.state = LaneState::Ready;
        self.ready_events += lane.len();
        self.ready.insert((head, id));
    }

    /// Takes off the head of a lane that does not run: it has ended.
    fn release_without(&mut self, id: LaneId, offset: i64) {
        let Some(lane) = self.lanes.get_mut(&id) else { unreachable_lane(id) };
        assert_eq!(lane.state, LaneState::Waiting, "only a head that waits is taken off");
        let head = lane.pop();
        assert_eq!(head, Some(offset), "another event than the head of its lane");
        self.release(id);
    }

    fn end(&mut self, offset: i64, ending: Ending, actions: &mut Vec<Action>) {
        self.ledger.end(offset);
        actions.push(Action::End { offset, ending });
    }
}

/// A lane that is named by a queue, a run or a deadline exists and has a head: anything else is a bug of
/// this crate, and going on would break the order that was promised.
fn unreachable_lane(id: LaneId) -> ! {
    unreachable!("lane {id:?} is named but does not exist or is empty")
}
