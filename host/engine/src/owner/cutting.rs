//! The owner's part in cuts, for a handler whose effects are records alone ([`crate::cuts`]).

use std::collections::{BTreeMap, BTreeSet};

use keylane_lanes::RunAttempt;
use tokio::sync::oneshot;

use super::Owner;
use crate::cuts::{Basket, CUT_BYTES_MAX, CUT_RECORDS_MAX, Snapshot};
use crate::ports::{DeadLetters, FailureClass, Outcome, OutgoingRecord, RunReport, Runner};

/// What is left of a run when those are out of it whose records were refused before.
pub(super) enum Sifted {
    /// These are run; those with the other offsets are not begun.
    Begins { attempts: Vec<RunAttempt>, left_out: BTreeSet<i64> },
    /// Some have failed, and nothing is run.
    Ended(RunReport),
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// An event ends with these records.
    pub(super) fn hold(&mut self, offset: i64, records: Vec<OutgoingRecord>) {
        assert!(self.basket.is_some() || records.is_empty(), "a handler without cuts held records back");
        if let Some(basket) = &mut self.basket {
            let bytes = basket.hold(offset, records);
            self.intake.hold_outgoing(bytes);
        }
    }

    /// How far the partition is may have changed.
    pub(super) fn moved(&mut self) {
        self.reporter.changed();
        if self.basket.is_some() {
            self.intake.stir();
        }
    }

    /// Answers how far the partition is, with what belongs to that. A progress that cannot tell of all that
    /// has ended leaves the rest to a later cut: its events are done again if there is none.
    pub(super) fn answer_cut(&mut self, answer: oneshot::Sender<Snapshot>) {
        self.drop_committed();
        let Some(basket) = &mut self.basket else { return };
        let progress = self.reporter.cut(self.lanes.gap_set());
        self.intake.cut.settle();
        let tells_all = !progress.truncated;
        let snapshot = basket.snapshot(progress, |offset| tells_all || self.reporter.has_cut(offset));
        // Who asked may have gone: then it asks again, or nobody does.
        let _unheard = answer.send(snapshot);
        self.intake.wake();
    }

    /// Lets go of what is committed.
    pub(super) fn drop_committed(&mut self) {
        let number = *self.intake.cut.committed.borrow_and_update();
        if let Some(basket) = &mut self.basket {
            let bytes = basket.committed(number);
            self.intake.release_outgoing(bytes);
        }
    }

    /// Whether what waits for its cut leaves room for more, here and in the host. Where no cut can take any of it,
    /// only what ends further down helps, so that goes on.
    pub(super) fn has_room_for_records(&self) -> bool {
        self.basket_takes_more(true)
    }

    /// Whether a run may begin: one alone where only what ends further down helps, so that what is held grows by no
    /// more than that at once.
    pub(super) fn has_room_for_a_run(&self) -> bool {
        self.basket_takes_more(self.out.oldest().is_none())
    }

    fn basket_takes_more(&self, if_stuck: bool) -> bool {
        let has_room = |basket: &Basket| !basket.is_full() && self.intake.has_outgoing_room();
        self.basket.as_ref().is_none_or(|basket| has_room(basket) || (if_stuck && basket.is_stuck()))
    }

    /// Why no run begins, if that is why.
    pub(super) fn why_basket_is_full(&self) -> Option<String> {
        let basket = self.basket.as_ref().filter(|_| !self.has_room_for_a_run())?;
        let (records, bytes) = basket.size();
        let waits = format!("{records} records of {bytes} bytes wait for the transaction that commits them");
        Some(match basket.is_full() {
            true => format!(
                "{waits}; from {CUT_RECORDS_MAX} records or {CUT_BYTES_MAX} bytes on nothing more begins"
            ),
            false => format!("{waits}, and {}", self.intake.why_no_outgoing()),
        })
    }

    /// Takes those out of a run whose records were refused before. One at the head of its lane has failed, and the
    /// others come again in a run without it. One behind others of its lane waits until they have ended, and those
    /// behind it do: of a lane nothing is told beyond its first failure.
    pub(super) fn sift(&mut self, mut attempts: Vec<RunAttempt>) -> Sifted {
        let (mut failed, mut left_out) = (BTreeMap::new(), BTreeSet::new());
        let Some(basket) = self.basket.as_mut().filter(|basket| basket.has_refused()) else {
            return Sifted::Begins { attempts, left_out };
        };
        for of_lane in attempts.chunk_by(|one, next| one.lane == next.lane) {
            let waits = of_lane.iter().skip_while(|attempt| !basket.is_refused(attempt.offset));
            left_out.extend(waits.map(|attempt| attempt.offset));
            let Some(head) = of_lane.first() else { continue };
            failed.extend(basket.take_refused(head.offset).map(|reason| (head.offset, reason)));
        }
        if failed.is_empty() {
            attempts.retain(|attempt| !left_out.contains(&attempt.offset));
            return Sifted::Begins { attempts, left_out };
        }
        let class = FailureClass::Undeliverable;
        let outcome = |attempt: &RunAttempt| match failed.remove(&attempt.offset) {
            Some(reason) => Outcome::Failed { class, reason, after_ms: None },
            None => Outcome::NotStarted,
        };
        Sifted::Ended(attempts.iter().map(outcome).collect::<Vec<_>>().into())
    }

    /// Records and bytes that wait for their cut.
    pub(super) fn basket_size(&self) -> (usize, usize) {
        self.basket.as_ref().map(Basket::size).unwrap_or_default()
    }
}
