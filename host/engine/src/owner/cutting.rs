//! The owner's part in cuts, for a handler whose effects are records alone ([`crate::cuts`]).

use keylane_lanes::RunAttempt;
use tokio::sync::oneshot;

use super::Owner;
use crate::cuts::{CUT_BYTES_MAX, CUT_RECORDS_MAX, Snapshot};
use crate::payload::restore;
use crate::ports::{DeadLetters, FailureClass, Outcome, OutgoingRecord, RunReport, Runner};

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// An event ends with these records.
    pub(super) fn hold(&mut self, offset: i64, records: Vec<OutgoingRecord>) {
        assert!(self.basket.is_some() || records.is_empty(), "a handler without cuts held records back");
        if let Some(basket) = &mut self.basket {
            basket.hold(offset, records);
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
        let progress = self.reporter.made(&self.lanes.gap_set());
        let Some(basket) = &mut self.basket else { return };
        self.intake.cut.settle();
        let snapshot = if progress.truncated {
            let told = restore(progress.offset, progress.payload.as_bytes(), self.topic_id).gap;
            let is_told =
                |offset: i64| offset < told.base || told.ended.iter().any(|range| range.contains(&offset));
            basket.snapshot(progress, is_told)
        } else {
            basket.snapshot(progress, |_| true)
        };
        // Who asked may have gone: then it asks again, or nobody does.
        let _unheard = answer.send(snapshot);
        self.intake.wake();
    }

    /// Lets go of what is committed.
    pub(super) fn drop_committed(&mut self) {
        let number = *self.intake.cut.committed.borrow_and_update();
        if let Some(basket) = &mut self.basket {
            basket.committed(number);
        }
    }

    /// Whether what waits for its cut leaves room for another run.
    pub(super) fn has_room_for_records(&self) -> bool {
        self.basket.as_ref().is_none_or(|basket| !basket.is_full())
    }

    /// Why no run begins, if that is why.
    pub(super) fn why_basket_is_full(&self) -> Option<String> {
        let basket = self.basket.as_ref().filter(|basket| basket.is_full())?;
        let (records, bytes) = basket.size();
        Some(format!(
            "{records} records of {bytes} bytes wait for the transaction that commits them; from \
             {CUT_RECORDS_MAX} records or {CUT_BYTES_MAX} bytes on nothing more begins"
        ))
    }

    /// What a run with events comes to whose records were refused before: these have failed, and the others
    /// come again in a run without them.
    pub(super) fn refused_before(&mut self, attempts: &[RunAttempt]) -> Option<RunReport> {
        let basket = self.basket.as_mut()?;
        let outcomes: Vec<Outcome> = attempts
            .iter()
            .map(|attempt| match basket.take_refused(attempt.offset) {
                Some(reason) => {
                    Outcome::Failed { class: FailureClass::Undeliverable, reason, after_ms: None }
                }
                None => Outcome::NotStarted,
            })
            .collect();
        let any = outcomes.iter().any(|outcome| *outcome != Outcome::NotStarted);
        any.then(|| outcomes.into())
    }

    /// Records and bytes that wait for their cut.
    pub(super) fn basket_size(&self) -> (usize, usize) {
        self.basket.as_ref().map(crate::cuts::Basket::size).unwrap_or_default()
    }
}
