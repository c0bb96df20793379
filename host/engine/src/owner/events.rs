//! The owner's events: what arrives goes into the lanes, and what the lanes answer is carried out.

use keylane_lanes::{Action, Ending, Halt, Input};

use super::Owner;
use crate::admission::Admission;
use crate::inbox::Delivery;
use crate::ports::{DeadLetters, FailureClass, Runner};
use crate::tally::Count;

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    pub(super) fn admit(&mut self, delivery: Delivery) {
        self.intake.made_room_for_a_delivery();
        self.shared.tally.add(Count::Arrived, delivery.events.len() as u64);
        for event in delivery.events {
            let offset = event.offset;
            let admission = self.shared.options.filter.admit(&event);
            let lane = self.shared.options.lanes.lane(&event);
            self.next = self.next.max(offset.saturating_add(1));
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
        self.next = self.next.max(delivery.next);
        self.step(Input::Reached { next: delivery.next });
        self.moved();
    }

    /// Takes one input and carries out what the lanes answer.
    pub(super) fn step(&mut self, input: Input) {
        let mut actions = Vec::new();
        self.lanes.step(self.now_ms(), input, &mut actions);
        self.carry_out(actions);
    }

    pub(super) fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Bury { offset, attempts } => self.bury(offset, attempts),
                Action::Skip { offset } => self.note_skip(offset),
                Action::End { offset, ending } => self.end(offset, ending),
                Action::Pause { offset } => self.tell_of_pause(offset),
                Action::Halt(halt) => self.halt(halt),
                // A slot is answered by the first two and goes through `start_run`; a wish is by the
                // third and goes through `answer`.
                Action::Start { .. } | Action::Decline | Action::Refused { .. } => {}
            }
        }
    }

    fn end(&mut self, offset: i64, ending: Ending) {
        let weight_bytes = self.held.remove(offset);
        self.intake.release(1, weight_bytes);
        self.moved();
        if matches!(ending, Ending::Done | Ending::DeadLettered) {
            self.pruner.note_claim();
        }
        match ending {
            Ending::Done => self.count(Count::Done, &self.meters.done),
            Ending::Skipped => self.count(Count::Skipped, &self.meters.skipped),
            Ending::DeadLettered => self.count(Count::DeadLettered, &self.meters.dead_lettered),
            Ending::Before => self.count(Count::Before, &self.meters.before),
        }
    }

    fn count(&self, count: Count, meter: &metrics::Counter) {
        self.shared.tally.add(count, 1);
        meter.increment(1);
    }

    fn tell_of_pause(&self, offset: i64) {
        let (class, error) = self.held.failure(offset).unwrap_or_default();
        self.meters.pauses.increment(1);
        tracing::error!(
            handler = self.shared.options.name,
            source = %self.partition,
            offset,
            key = self.held.key(offset),
            class,
            error,
            "the key waits for an operator: `keylane lanes resume` tries the event again, \
             `keylane lanes skip` gives it up"
        );
    }

    fn halt(&mut self, halt: Halt) {
        let reason = self.why_halted(halt);
        self.meters.halts.increment(1);
        tracing::error!(
            handler = self.shared.options.name,
            source = %self.partition,
            reason,
            "the partition is halted: nothing more begins until `keylane lanes resume`"
        );
        self.reporter.halt(reason);
    }

    fn why_halted(&self, halt: Halt) -> String {
        match halt {
            Halt::Exhausted { offset } => {
                let key = self.held.key(offset).map_or("no key".to_owned(), |key| format!("key {key}"));
                let (class, error) = self.held.failure(offset).unwrap_or_default();
                format!("offset {offset} ({key}) can't be handled, last by {class}: {error}")
            }
            Halt::Flood { bad, of } => format!("{bad} of the latest {of} events ended badly"),
        }
    }
}
