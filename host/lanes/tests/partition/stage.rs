//! A partition on a stage: short words for inputs, and what is expected of their answers.

use keylane_lanes::{Action, Ending, FailureClass, GapSet, Input, LaneId, Partition, Policy, RunId, Verdict};

pub const RETRY: Verdict = failed(FailureClass::Retry);

pub const fn failed(class: FailureClass) -> Verdict {
    Verdict::Failed { class, after_ms: None }
}

/// No two attempts of these policies wait long, and no flood breaker disturbs.
pub fn quick() -> Policy {
    Policy { backoff_ms: 4, flood: None, ..Policy::default() }
}

pub struct Stage {
    pub partition: Partition,
    pub now_ms: u64,
}

impl Stage {
    pub fn new(policy: Policy) -> Self {
        Self::restored(policy, GapSet::at(0))
    }

    pub fn restored(policy: Policy, gap_set: GapSet) -> Self {
        Self { partition: Partition::new(policy, gap_set), now_ms: 0 }
    }

    /// A partition where these offsets have arrived in these lanes.
    pub fn with(policy: Policy, events: &[(i64, u64)]) -> Self {
        let mut stage = Self::new(policy);
        events.iter().for_each(|(offset, lane)| assert_eq!(stage.arrives(*offset, *lane), []));
        stage
    }

    pub fn step(&mut self, input: Input) -> Vec<Action> {
        let mut actions = Vec::new();
        self.partition.step(self.now_ms, input, &mut actions);
        actions
    }

    pub fn arrives(&mut self, offset: i64, lane: u64) -> Vec<Action> {
        self.step(Input::Arrived { offset, lane: LaneId(lane) })
    }

    /// Fills a slot. Answers the run with offset and number of each attempt, if one starts.
    pub fn slot(&mut self, free: usize) -> Option<(RunId, Vec<(i64, u32)>)> {
        let mut actions = self.step(Input::Slot { free });
        assert_eq!(actions.len(), 1);
        match actions.pop() {
            Some(Action::Start { run, attempts }) => {
                Some((run, attempts.iter().map(|attempt| (attempt.offset, attempt.number)).collect()))
            }
            Some(Action::Decline) => None,
            other => panic!("a slot was answered by {other:?}"),
        }
    }

    pub fn ends(&mut self, run: RunId, verdicts: &[Verdict]) -> Vec<Action> {
        self.takes(run, verdicts, 0)
    }

    pub fn takes(&mut self, run: RunId, verdicts: &[Verdict], spent_us: u64) -> Vec<Action> {
        self.step(Input::RunEnded { run, verdicts: verdicts.to_vec(), spent_us, conflicts: 0 })
    }

    /// The run was undone because another one was in its way, and is given back as it was.
    pub fn conflicts(&mut self, run: RunId, events: usize) -> Vec<Action> {
        let verdicts = vec![Verdict::NotStarted; events];
        self.step(Input::RunEnded { run, verdicts, spent_us: 0, conflicts: 1 })
    }

    /// An operator gives up a head that waits, and that is noted. Answers what must be done then.
    pub fn skips(&mut self, offset: i64) -> Vec<Action> {
        assert_eq!(self.step(Input::SkipHead { offset }), [Action::Skip { offset }]);
        self.step(Input::HeadSkipped { offset })
    }

    /// Starts the one run there is and ends it at once with these verdicts. Answers the attempts and what
    /// must be done.
    pub fn runs(&mut self, verdicts: &[Verdict]) -> (Vec<(i64, u32)>, Vec<Action>) {
        let (run, attempts) = self.slot(1).unwrap();
        (attempts, self.ends(run, verdicts))
    }

    /// Waits for the next deadline and lets time pass there.
    pub fn waits(&mut self) {
        self.now_ms = self.partition.next_deadline_ms().unwrap();
        assert_eq!(self.step(Input::Tick), []);
    }

    /// The one event that is ready fails in this way, attempt after attempt, until something else than
    /// waiting must be done. Answers how many attempts that took, and what must be done.
    pub fn fails_until_the_last_step(&mut self, verdict: Verdict) -> (u32, Vec<Action>) {
        for number in 1.. {
            let (attempts, actions) = self.runs(&[verdict]);
            assert_eq!(attempts.len(), 1);
            if !actions.is_empty() {
                return (number, actions);
            }
            self.waits();
        }
        unreachable!("it would try for ever")
    }
}

pub fn end(offset: i64, ending: Ending) -> Action {
    Action::End { offset, ending }
}

/// A gap set of half open ranges, each given by its two ends.
pub fn gap_set(base: i64, ended: &[(i64, i64)]) -> GapSet {
    GapSet { base, ended: ended.iter().map(|(start, end)| *start..*end).collect() }
}
