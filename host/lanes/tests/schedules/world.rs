//! The world around a partition: a log, and runs that end.

mod faults;

use std::collections::BTreeSet;

use keylane_lanes::{Action, GapSet, Halt, Input, LaneId, Partition, RunId, Verdict};

use crate::draw::Draw;
use crate::history::{History, Kind, holds};
use crate::look;
use crate::model::{Model, State};

pub struct World {
    draw: Draw,
    partition: Partition,
    model: Model,
    history: History,
    now_ms: u64,
    lanes: u64,
    /// Weight of failures in this seed, in percent.
    failing: u64,
    /// How many runs meet a conflict in this seed, in percent.
    conflicting: u64,
    /// What one attempt takes in this seed, at most.
    attempt_us: u64,
    /// Whether hosts crash in this seed.
    crashes: bool,
    /// What the last commit wrote down.
    committed: GapSet,
    /// What the schedule met, for the test that asks whether it met enough.
    pub met: BTreeSet<String>,
    pub trace: Vec<String>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let policy = draw.policy();
        let nothing = GapSet::at(0);
        Self {
            lanes: 1 + draw.below(12),
            failing: draw.below(70),
            conflicting: if draw.one_in(2) { draw.below(80) } else { 0 },
            attempt_us: 1 + draw.below(20_000),
            crashes: draw.one_in(2),
            draw,
            partition: Partition::new(policy, nothing.clone()),
            model: Model::new(policy, nothing.clone()),
            history: History::default(),
            now_ms: 0,
            committed: nothing,
            met: BTreeSet::new(),
            trace: Vec::new(),
        }
    }

    pub fn random_step(&mut self) {
        match self.draw.below(25) {
            0..=7 => self.arrive(),
            8..=11 => {
                let free = 1 + self.draw.below(4) as usize;
                self.slot(free);
            }
            12..=15 => self.end_a_run(),
            16 => self.bury(),
            23 => self.note_a_skip(),
            17 | 18 => {
                self.now_ms += self.draw.below(100);
                self.tick();
            }
            19 => self.reach(),
            20 if self.draw.one_in(2) => self.operate(),
            21 => self.commit(),
            22 if self.crashes && self.draw.one_in(5) => self.crash(),
            _ => {}
        }
    }

    /// Feeds an input that must be answered as the model says.
    fn feed(&mut self, input: Input, expected: &[Action]) {
        let actions = self.step(input.clone());
        assert_eq!(actions, expected, "the answer to {input:?}");
        self.look();
    }

    fn step(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        let halted = self.partition.halted().is_some();
        self.partition.step(self.now_ms, input.clone(), &mut actions);
        self.trace.push(format!("{} {input:?} {actions:?}", self.now_ms));
        for action in &actions {
            match action {
                Action::End { offset, ending } => {
                    self.history.ended(*offset, *ending);
                    self.met.insert(format!("end {ending:?}"));
                }
                Action::Halt(Halt::Exhausted { .. }) if halted => self.meet("halt passes on"),
                Action::Halt(Halt::Exhausted { .. }) => self.meet("halt Exhausted"),
                Action::Halt(Halt::Flood { .. }) => {
                    self.meet("halt Flood");
                    if self.partition.counts().burying > 0 {
                        self.meet("burying while halted");
                    }
                }
                Action::Pause { .. } if halted => self.meet("failed while halted"),
                Action::Pause { .. } => self.meet("pause"),
                Action::Start { .. }
                | Action::Decline
                | Action::Bury { .. }
                | Action::Skip { .. }
                | Action::Refused { .. } => {}
            }
        }
        actions
    }

    fn look(&mut self) {
        look::check(&mut self.model, &self.partition, self.committed.base);
    }

    fn meet(&mut self, what: &str) {
        if !self.met.contains(what) {
            self.met.insert(what.to_owned());
        }
    }

    /// The next record that the log holds, or a new one.
    fn arrive(&mut self) {
        let admits = self.partition.admits();
        // A batch that is in hand when the partition halts is fed to its end.
        let in_hand = self.model.halted.is_some() && self.draw.one_in(4);
        if !admits && !in_hand {
            return;
        }
        let logged = self.history.log.range(self.model.next..).next().map(|(offset, kind)| (*offset, *kind));
        let (offset, kind) = logged.unwrap_or_else(|| self.produce());
        if !admits {
            self.meet("arrived while halted");
            if kind == Kind::Condemned && !holds(&self.model.restored, offset) {
                self.meet("condemned while halted");
            }
        }
        let expected = self.model.arrive(offset, kind);
        let input = match kind {
            Kind::Wanted(lane) => Input::Arrived { offset, lane },
            Kind::Unwanted => Input::Skipped { offset },
            Kind::Condemned => Input::Condemned { offset },
        };
        self.feed(input, &expected);
    }

    fn produce(&mut self) -> (i64, Kind) {
        let hole = if self.draw.one_in(10) { 1 + self.draw.below(3) as i64 } else { 0 };
        let offset = self.history.log_end.max(self.model.next) + hole;
        let kind = match self.draw.below(20) {
            0 => Kind::Unwanted,
            1 => Kind::Condemned,
            _ => Kind::Wanted(LaneId(self.draw.below(self.lanes))),
        };
        self.history.log.insert(offset, kind);
        self.history.log_end = offset + 1;
        (offset, kind)
    }

    /// The client tells how far it has come: not past a record that is still to come, or stale.
    fn reach(&mut self) {
        let next = match self.history.log.range(self.model.next..).next() {
            Some((offset, _)) => offset - self.draw.below((offset - self.model.next) as u64 + 1) as i64,
            None => self.history.log_end.max(self.model.next) + self.draw.below(3) as i64,
        };
        let next = if self.draw.one_in(4) { (self.model.next - 3).max(0) } else { next };
        self.model.next = self.model.next.max(next);
        if self.model.restored.ended.iter().any(|range| range.start < next && next < range.end) {
            self.meet("client stands in a restored range");
        }
        self.feed(Input::Reached { next }, &[]);
    }

    fn slot(&mut self, free: usize) {
        let wanted = self.model.wants_slot();
        match self.step(Input::Slot { free }).as_slice() {
            [Action::Start { run, attempts }] => {
                attempts.iter().for_each(|attempt| self.history.begun(attempt.offset));
                self.model.start(self.now_ms, *run, attempts);
            }
            [Action::Decline] => assert!(!wanted, "declined, and {:?} are ready", self.model.ready()),
            other => panic!("a slot was answered by {other:?}"),
        }
        self.look();
    }

    /// Ends a random run that is out, the way a runner would: a lane stops at its first failure, and
    /// some runs are stopped between two events.
    fn end_a_run(&mut self) {
        let Some(run) = self.draw.pick(self.model.runs.keys().copied()) else { return };
        let attempts = self.model.runs[&run].1.clone();
        if self.draw.below(100) < self.conflicting {
            self.meet(if self.model.squeezed == 1 { "conflict of one event" } else { "conflict" });
            return self.end_run(run, vec![Verdict::NotStarted; attempts.len()], 0, 1);
        }
        let begun_max =
            if self.draw.one_in(5) { self.draw.below(attempts.len() as u64 + 1) } else { u64::MAX };
        let (mut stopped, mut verdicts, mut spent_us) = (BTreeSet::new(), Vec::new(), 0);
        for (index, attempt) in attempts.iter().enumerate() {
            let begins = (index as u64) < begun_max && !stopped.contains(&attempt.lane);
            let verdict = if begins { self.draw.verdict(self.failing) } else { Verdict::NotStarted };
            match verdict {
                Verdict::Done => self.history.handled(attempt.lane, attempt.offset),
                Verdict::Failed { .. } | Verdict::NotStarted => drop(stopped.insert(attempt.lane)),
            }
            spent_us += if verdict == Verdict::NotStarted { 0 } else { 1 + self.draw.below(self.attempt_us) };
            verdicts.push(verdict);
        }
        self.end_run(run, verdicts, spent_us, 0);
    }

    fn end_run(&mut self, run: RunId, verdicts: Vec<Verdict>, spent_us: u64, conflicts: u32) {
        let squeezed = self.model.squeezed;
        let expected = self.model.end_run(self.now_ms, run, &verdicts, spent_us, conflicts);
        if self.model.squeezed > squeezed {
            self.meet("runs grow again");
        }
        self.feed(Input::RunEnded { run, verdicts, spent_us, conflicts }, &expected);
    }

    fn note_a_skip(&mut self) {
        let skipping = self.model.events.iter().filter(|(_, event)| event.state == State::Skipping);
        let Some(offset) = self.draw.pick(skipping.map(|(offset, _)| *offset)) else { return };
        let expected = self.model.skipped(self.now_ms, offset);
        let before = self.partition.watermark();
        self.feed(Input::HeadSkipped { offset }, &expected);
        if self.partition.watermark() > before {
            self.meet("operator skip moves the watermark");
        }
    }

    fn bury(&mut self) {
        let burying = self.model.events.iter().filter(|(_, event)| event.state == State::Burying);
        let Some(offset) = self.draw.pick(burying.map(|(offset, _)| *offset)) else { return };
        let expected = self.model.buried(offset);
        self.feed(Input::Buried { offset }, &expected);
    }

    fn tick(&mut self) {
        self.model.tick(self.now_ms);
        self.feed(Input::Tick, &[]);
    }

    /// With every fault over and an operator at hand, all that the log holds must end.
    pub fn settle(&mut self) {
        (self.failing, self.conflicting) = (0, 0);
        for _ in 0..100_000 {
            let delivered = self.history.log.range(self.model.next..).next().is_none();
            if delivered && self.model.events.is_empty() {
                return self.finish();
            }
            if !delivered {
                self.arrive();
            }
            self.now_ms = self.partition.next_deadline_ms().unwrap_or(self.now_ms).max(self.now_ms);
            self.tick();
            self.slot(1);
            self.end_a_run();
            self.bury();
            self.note_a_skip();
            self.resume_all();
        }
        panic!("stuck with {:?}", self.model.events.keys());
    }

    fn finish(&mut self) {
        assert!(self.history.all_ended(), "something in the log never ended");
        self.commit();
        assert_eq!(self.partition.counts(), keylane_lanes::LaneCounts::default());
        let end = self.partition.watermark();
        assert!(end >= self.model.next && self.partition.is_quiet() && self.partition.gap() == 0);
    }
}
