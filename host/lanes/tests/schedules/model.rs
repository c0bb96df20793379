//! A naive model of a partition: flat lists, searched through anew each time. It says what the partition
//! must answer to each input; only the length of a run and the jitter of a wait are left open, within bounds.

use std::collections::{BTreeMap, BTreeSet};

use keylane_lanes::{Action, Ending, GapSet, Halt, LaneId, Policy, RunAttempt, RunId, Then, Verdict};

use crate::history::{Kind, holds};
use crate::outcome::{Failures, Outcome};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Queued,
    Running,
    /// The deadline is `until_ms` once it was seen.
    Parked {
        from_ms: u64,
        to_ms: u64,
        until_ms: Option<u64>,
    },
    Paused,
    Burying,
    Skipping,
}

pub struct Event {
    pub lane: Option<LaneId>,
    pub state: State,
    pub failures: Failures,
}

pub struct Model {
    pub policy: Policy,
    pub restored: GapSet,
    /// No offset below is still to come.
    pub next: i64,
    /// What has not ended.
    pub events: BTreeMap<i64, Event>,
    /// What arrived and had not ended before.
    pub fresh: BTreeSet<i64>,
    /// What of that the handler did not want.
    pub unwanted: BTreeSet<i64>,
    pub runs: BTreeMap<RunId, (u64, Vec<RunAttempt>)>,
    pub halted: Option<Halt>,
    /// How events ended since the last halt; true is badly.
    endings: Vec<bool>,
    spent_us: f64,
    attempted: f64,
    /// The most events of a run by conflicts, and the clean runs since that changed.
    pub squeezed: usize,
    clean: u32,
}

impl Model {
    pub fn new(policy: Policy, restored: GapSet) -> Self {
        Self {
            squeezed: policy.run_events_max,
            clean: 0,
            policy,
            next: restored.base,
            restored,
            events: BTreeMap::new(),
            fresh: BTreeSet::new(),
            unwanted: BTreeSet::new(),
            runs: BTreeMap::new(),
            halted: None,
            endings: Vec::new(),
            spent_us: 0.0,
            attempted: 0.0,
        }
    }

    pub fn arrive(&mut self, offset: i64, kind: Kind) -> Vec<Action> {
        self.next = offset + 1;
        if holds(&self.restored, offset) {
            return vec![Action::End { offset, ending: Ending::Before }];
        }
        self.fresh.insert(offset);
        let (lane, state, action) = match kind {
            Kind::Unwanted => {
                self.unwanted.insert(offset);
                return vec![Action::End { offset, ending: Ending::Skipped }];
            }
            Kind::Condemned => (None, State::Burying, Some(Action::Bury { offset, attempts: 0 })),
            Kind::Wanted(lane) => (Some(lane), State::Queued, None),
        };
        self.events.insert(offset, Event { lane, state, failures: Failures::default() });
        action.into_iter().collect()
    }

    /// The heads of the lanes that may run, oldest first.
    pub fn ready(&self) -> Vec<i64> {
        let mut seen = BTreeSet::new();
        let heads = self.events.iter().filter(|(_, event)| event.lane.is_some_and(|lane| seen.insert(lane)));
        heads.filter(|(_, event)| event.state == State::Queued).map(|(offset, _)| *offset).collect()
    }

    pub fn wants_slot(&self) -> bool {
        self.halted.is_none() && !self.ready().is_empty()
    }

    /// Takes note of a run and checks that it may be begun.
    pub fn start(&mut self, now_ms: u64, run: RunId, attempts: &[RunAttempt]) {
        assert!(self.wants_slot(), "nothing may begin");
        let bound = self.squeezed;
        assert!(attempts.len() <= bound, "{} events in a run of at most {bound}", attempts.len());
        if self.attempted > 0.0 {
            let fit = f64::from(self.policy.slice_ms as u32) * 1_000.0 * self.attempted / self.spent_us;
            assert!(attempts.len() as f64 <= (fit * 1.02).max(1.0), "{} events, {fit} fit", attempts.len());
        }
        let mut oldest = self.ready().into_iter();
        for of_lane in attempts.chunk_by(|one, next| one.lane == next.lane) {
            assert_eq!(Some(of_lane[0].offset), oldest.next(), "the oldest ready head comes first");
            let mut queue = self.events.iter().filter(|(_, event)| event.lane == Some(of_lane[0].lane));
            let alone = !self.events[&of_lane[0].offset].failures.classes.is_empty();
            assert!(!alone || of_lane.len() == 1, "a head that failed runs without its followers");
            for attempt in of_lane {
                let (offset, event) = queue.next().unwrap();
                assert_eq!((*offset, event.state), (attempt.offset, State::Queued), "out of order");
                assert_eq!(attempt.number, event.failures.classes.len() as u32 + 1, "of {offset}");
            }
        }
        for attempt in attempts {
            self.events.get_mut(&attempt.offset).unwrap().state = State::Running;
        }
        assert!(self.runs.insert(run, (now_ms, attempts.to_vec())).is_none(), "{run:?} began twice");
    }

    fn squeeze(&mut self, events: usize, conflicts: u32) {
        let stretch = self.clean == 7;
        (self.clean, self.squeezed) = match conflicts {
            0 if stretch => (0, (2 * self.squeezed).min(self.policy.run_events_max)),
            0 => (self.clean + 1, self.squeezed),
            _ => (0, (events.min(self.squeezed) / 2).max(1)),
        };
    }

    pub fn end_run(
        &mut self,
        now_ms: u64,
        run: RunId,
        verdicts: &[Verdict],
        spent_us: u64,
        conflicts: u32,
    ) -> Vec<Action> {
        let (begun_ms, attempts) = self.runs.remove(&run).unwrap();
        let attempted = verdicts.iter().filter(|verdict| **verdict != Verdict::NotStarted).count();
        if attempted > 0 || conflicts > 0 {
            self.squeeze(attempts.len(), conflicts);
        }
        if attempted > 0 {
            self.spent_us = self.spent_us * 0.875 + spent_us as f64;
            self.attempted = self.attempted * 0.875 + attempted as f64;
        }
        let mut actions = Vec::new();
        for (RunAttempt { offset, .. }, verdict) in attempts.into_iter().zip(verdicts) {
            let event = self.events.get_mut(&offset).unwrap();
            event.state = State::Queued;
            match *verdict {
                Verdict::NotStarted => {}
                Verdict::Done => {
                    self.endings.push(false);
                    self.end(offset, Ending::Done, &mut actions);
                }
                Verdict::Failed { class, after_ms } => {
                    match event.failures.add(&self.policy, class, after_ms, begun_ms, now_ms) {
                        Outcome::LastStep => self.last_step(offset, &mut actions),
                        Outcome::Wait { from_ms, to_ms } => {
                            event.state = State::Parked { from_ms, to_ms, until_ms: None };
                        }
                    }
                }
            }
        }
        actions
    }

    fn last_step(&mut self, offset: i64, actions: &mut Vec<Action>) {
        let attempts = self.events[&offset].failures.classes.len() as u32;
        let halt = match self.policy.then {
            Then::PauseLane => None,
            Then::Stop => Some(Halt::Exhausted { offset }),
            Then::DeadLetter => {
                self.endings.push(true);
                self.flood()
            }
        };
        let state = &mut self.events.get_mut(&offset).unwrap().state;
        if self.policy.then == Then::DeadLetter && halt.is_none() && self.halted.is_none() {
            *state = State::Burying;
            return actions.push(Action::Bury { offset, attempts });
        }
        *state = State::Paused;
        actions.push(Action::Pause { offset });
        if self.halted.is_none() {
            self.halted = halt;
            actions.extend(halt.map(Action::Halt));
        }
    }

    fn flood(&self) -> Option<Halt> {
        let flood = self.policy.flood?;
        let window: Vec<&bool> = self.endings.iter().rev().take(flood.window_events).collect();
        let bad = window.iter().filter(|bad| ***bad).count();
        let share = bad as f64 / flood.window_events as f64;
        (share > f64::from(flood.share_percent) / 100.0).then_some(Halt::Flood { bad, of: window.len() })
    }

    pub fn buried(&mut self, offset: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.end(offset, Ending::DeadLettered, &mut actions);
        actions
    }

    pub fn tick(&mut self, now_ms: u64) {
        if self.halted.is_some() {
            return;
        }
        for event in self.events.values_mut() {
            if matches!(event.state, State::Parked { until_ms: Some(until_ms), .. } if until_ms <= now_ms) {
                event.state = State::Queued;
            }
        }
    }

    /// What an operator may name.
    pub fn waits(&self, offset: i64) -> bool {
        let state = self.events.get(&offset).map(|event| event.state);
        matches!(state, Some(State::Parked { .. } | State::Paused))
    }

    pub fn resume_all(&mut self, now_ms: u64) -> Vec<Action> {
        self.events.values_mut().filter(|event| event.state == State::Paused).for_each(afresh);
        self.unhalt(now_ms);
        Vec::new()
    }

    pub fn resume(&mut self, now_ms: u64, offset: i64) -> Vec<Action> {
        if !self.waits(offset) {
            return vec![Action::Refused { offset }];
        }
        self.events.get_mut(&offset).into_iter().for_each(afresh);
        self.settled(now_ms, offset).into_iter().collect()
    }

    pub fn skip(&mut self, offset: i64) -> Vec<Action> {
        if !self.waits(offset) {
            return vec![Action::Refused { offset }];
        }
        self.events.get_mut(&offset).unwrap().state = State::Skipping;
        vec![Action::Skip { offset }]
    }

    pub fn skipped(&mut self, now_ms: u64, offset: i64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.end(offset, Ending::Skipped, &mut actions);
        actions.extend(self.settled(now_ms, offset));
        actions
    }

    fn settled(&mut self, now_ms: u64, offset: i64) -> Option<Action> {
        if self.halted != Some(Halt::Exhausted { offset }) {
            return None;
        }
        let next = self.events.iter().find(|(_, event)| event.state == State::Paused);
        let Some((next, _)) = next else {
            self.unhalt(now_ms);
            return None;
        };
        self.halted = Some(Halt::Exhausted { offset: *next });
        self.halted.map(Action::Halt)
    }

    fn unhalt(&mut self, now_ms: u64) {
        if self.halted.take().is_some() {
            self.endings.clear();
            self.tick(now_ms);
        }
    }

    fn end(&mut self, offset: i64, ending: Ending, actions: &mut Vec<Action>) {
        assert!(self.events.remove(&offset).is_some(), "{offset} ended twice or never arrived");
        actions.push(Action::End { offset, ending });
    }
}

fn afresh(event: &mut Event) {
    event.state = State::Queued;
    event.failures = Failures::default();
}
