//! The model of a component: slow keys, failures of each class, hangs up to a limit. It writes down what it
//! handles, from the beginning to the end.

mod transaction;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{Attempt, Event, FailureClass, Outcome, OutgoingRecord, RunControl, RunReport, Runner};

use self::transaction::Written;
use crate::cuts::record_of;
use crate::database::{DatabasePlan, Line, Row, What};
use crate::draw::Draw;
use crate::plan::Plan;
use crate::process::Process;
use crate::trace::{How, Note, Place};

/// The classes of failures, in the order of the plan's weights.
pub const CLASSES: [FailureClass; 7] = [
    FailureClass::Retry,
    FailureClass::Reject,
    FailureClass::Trap,
    FailureClass::Timeout,
    FailureClass::Memory,
    FailureClass::Effects,
    FailureClass::Undeliverable,
];

/// What each class is seen as.
const SEEN: [&str; 7] = [
    "failure: retry",
    "failure: reject",
    "failure: trap",
    "failure: timeout",
    "failure: memory",
    "failure: effects",
    "failure: undeliverable",
];

/// The header in which the poller tells the assignment's number, for the trace.
pub const NUMBER: &str = "number";

/// The last byte of the value of a record that no attempt can handle.
pub const POISON: u8 = 1;

/// The number of the assignment that delivered an event.
pub fn number_of(event: &Event) -> u64 {
    let bytes = event.header(NUMBER).expect("the poller writes a number into each event");
    u64::from_le_bytes(bytes.as_ref().try_into().unwrap())
}

/// One handler's component in one host.
pub struct ModelRunner {
    pub handler: u8,
    pub process: Arc<Process>,
    /// The way to its write database, if it has one.
    pub line: Option<Arc<Line>>,
}

/// What is known of an attempt at the end of its transaction.
enum Told {
    /// The event had ended before.
    Before,
    NotStarted,
    Ended(How, Option<u64>),
}

impl Told {
    /// `charges_all` is the mutation that charges whoever stands beside a failure.
    fn outcome(self, charges_all: bool) -> Outcome {
        match self {
            Self::Before => Outcome::Done,
            Self::NotStarted if charges_all => failed(FailureClass::Trap, None),
            Self::NotStarted => Outcome::NotStarted,
            Self::Ended(How::Done, _) => Outcome::Done,
            Self::Ended(How::Failed(class), after_ms) => failed(class, after_ms),
        }
    }
}

fn failed(class: FailureClass, after_ms: Option<u64>) -> Outcome {
    Outcome::Failed { class, reason: "the plan wants it".to_owned(), after_ms }
}

/// How many outputs an event makes.
pub fn outputs_of(plan: &Plan, place: Place, offset: i64) -> u32 {
    let handler = usize::from(place.handler);
    let outputs_max = match (&plan.databases[handler], &plan.cuts[handler]) {
        (Some(database), _) => database.outputs_max,
        (None, Some(cuts)) => cuts.outputs_max,
        (None, None) => return 0,
    };
    let identity = [plan.seed, 12, u64::from(place.handler), place.partition as u64, offset as u64];
    Draw::of(&identity).below(outputs_max + 1) as u32
}

/// A run that is out. Dropping it writes down that it is gone, however it went.
struct RunOut<'a> {
    process: &'a Process,
    place: Place,
    number: u64,
    run: u64,
    /// The event that is being handled.
    handling: Option<i64>,
    answered: bool,
}

impl Drop for RunOut<'_> {
    fn drop(&mut self) {
        let Self { place, number, run, answered, .. } = *self;
        if let Some(offset) = self.handling {
            self.process.saw("event broken off");
            self.process.note(Note::BrokenOff { place, number, run, offset });
        }
        self.process.note(Note::RunGone { place, number, run, answered });
    }
}

impl RunOut<'_> {
    /// An attempt has ended.
    fn tell(&self, offset: i64, how: How, after_ms: Option<u64>) {
        let Self { place, number, run, .. } = *self;
        self.process.note(Note::Ended { place, number, run, offset, how, after_ms });
    }
}

impl Runner for ModelRunner {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        let first = &attempts[0].event;
        let place = Place { handler: self.handler, partition: first.source.partition };
        let number = number_of(first);
        let run = self.process.next_number();
        self.process.note(Note::RunBegan { place, number, run, events: attempts.len() });
        let mut out = RunOut { process: &self.process, place, number, run, handling: None, answered: false };
        if let Some(line) = &self.line {
            let report = self.written(&attempts, &control, line).run(&mut out, &control).await;
            out.answered = true;
            return report;
        }
        let mut outcomes = Vec::with_capacity(attempts.len());
        let mut outputs = Vec::with_capacity(attempts.len());
        let mut stopped: Vec<u64> = Vec::new();
        let mut stopped_all = false;
        for (at, attempt) in attempts.iter().enumerate() {
            if at > 0 && !stopped_all && !control.may_begin_next() {
                self.process.saw("run gave events back");
                stopped_all = true;
            }
            if stopped_all || stopped.contains(&attempt.lane) {
                outcomes.push(Outcome::NotStarted);
                outputs.push(Vec::new());
                continue;
            }
            let outcome = self.handle(&mut out, attempt).await;
            outputs.push(self.given_out(place, attempt.event.offset, &outcome));
            if outcome != Outcome::Done {
                stopped.push(attempt.lane);
                stopped_all |= self.process.plan.runner.stops_at_failure;
            }
            outcomes.push(outcome);
        }
        out.answered = true;
        RunReport { outputs, ..outcomes.into() }
    }
}

impl ModelRunner {
    fn written<'a>(
        &'a self,
        attempts: &'a [Attempt],
        control: &RunControl,
        line: &'a Arc<Line>,
    ) -> Written<'a> {
        let fence = control.fence().expect("a run beside a database has a fence");
        let (begun, ended) = (BTreeSet::new(), BTreeSet::new());
        Written {
            runner: self,
            line,
            fence,
            attempts,
            pass: 0,
            savepoints: false,
            conflicts: 0,
            begun,
            ended,
            failed_first: None,
        }
    }

    fn database(&self) -> Option<&DatabasePlan> {
        self.process.plan.databases[usize::from(self.handler)].as_ref()
    }

    fn outputs(&self, place: Place, offset: i64) -> u32 {
        outputs_of(&self.process.plan, place, offset)
    }

    /// What an event gives out that is done, if its handler is in cuts.
    fn given_out(&self, place: Place, offset: i64, outcome: &Outcome) -> Vec<OutgoingRecord> {
        let partition = place.partition;
        let record = |number| record_of(Row { partition, offset, what: What::Output(number) });
        let outputs = if *outcome == Outcome::Done { self.outputs(place, offset) } else { 0 };
        (0..outputs).map(record).collect()
    }

    async fn handle(&self, out: &mut RunOut<'_>, attempt: &Attempt) -> Outcome {
        let (how, after_ms) = self.call(out, attempt, 0, true).await;
        out.handling = None;
        out.tell(attempt.event.offset, how, after_ms);
        match how {
            How::Done => Outcome::Done,
            How::Failed(class) => failed(class, after_ms),
        }
    }

    /// The component handles an event, for the first time in this run or again. `pass` is 0 for what is
    /// never undone.
    async fn call(
        &self,
        out: &mut RunOut<'_>,
        attempt: &Attempt,
        pass: u64,
        is_first: bool,
    ) -> (How, Option<u64>) {
        let event = &attempt.event;
        let RunOut { place, number, run, .. } = *out;
        let offset = event.offset;
        let key = event.key.as_ref().map(|key| u32::from_le_bytes(key.as_ref().try_into().unwrap()));
        let poison = event.value.as_ref().and_then(|value| value.last()) == Some(&POISON);
        let identity = [self.process.plan.seed, 2, u64::from(self.handler), place.partition as u64];
        let mut draw = Draw::of(&[identity[0], identity[1], identity[2], identity[3], offset as u64, number]);
        let mut draw = Draw::of(&[draw.next(), u64::from(attempt.number)]);
        if pass > 0 {
            draw = Draw::of(&[draw.next(), pass]);
        }
        let attempt = attempt.number;
        self.process.note(if is_first {
            Note::Began { place, number, run, offset, key, attempt }
        } else {
            Note::Again { place, number, run, offset }
        });
        out.handling = Some(offset);
        let time_ms = self.time_ms(&mut draw, key);
        if time_ms > 0 {
            tokio::time::sleep(Duration::from_millis(time_ms)).await;
        }
        let failure = self.failure(&mut draw, offset, poison);
        let after_ms = (failure.is_some() && draw.permille(100)).then(|| draw.below(2_000));
        (failure.map_or(How::Done, How::Failed), after_ms)
    }

    fn time_ms(&self, draw: &mut Draw, key: Option<u32>) -> u64 {
        let plan = &self.process.plan.runner;
        // In the calm everything is quick: all of a hot key's events, one after another, have to end in time.
        if self.process.is_calm() {
            return draw.below(plan.usual_ms + 1);
        }
        if draw.permille(plan.hang_permille) {
            self.process.saw("hang");
            return plan.hang_ms;
        }
        if key.is_some_and(|key| key < plan.slow_keys) {
            return draw.between(plan.slow_ms / 2, plan.slow_ms);
        }
        draw.below(plan.usual_ms + 1)
    }

    fn failure(&self, draw: &mut Draw, offset: i64, poison: bool) -> Option<FailureClass> {
        if poison {
            return Some(if draw.permille(500) { FailureClass::Reject } else { FailureClass::Trap });
        }
        let plan = &self.process.plan.runner;
        if self.process.is_calm() {
            return None;
        }
        // A hash of the offset: every second record, in no regular pattern.
        let sieved = plan.sieve && Draw::of(&[offset as u64]).permille(500);
        if !sieved && !draw.permille(plan.failing_permille) {
            return None;
        }
        let mut at = draw.below(plan.class_weights.iter().sum());
        for ((class, weight), seen) in CLASSES.iter().zip(plan.class_weights).zip(SEEN) {
            if at < weight {
                self.process.saw(seen);
                return Some(*class);
            }
            at -= weight;
        }
        None
    }
}
