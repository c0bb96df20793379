//! The owner's endings that are not runs: dead letters, and what an operator gave up. The event has ended
//! when it is written down that it has, be it at the broker or in the handler's database.
//!
//! Each is a task of its own. What bounds: they are no more than the events that the partition holds, and of those
//! that go to the database only a few are on their way at once (`claiming.rs`).

use std::sync::Arc;

use keylane_lanes::Input;

use super::Owner;
use crate::burial;
use crate::claiming::Claim;
use crate::claims::ClaimsError;
use crate::ports::{DeadLetters, OutgoingRecord, Runner};

/// An ending that is written down, or why the partition is to be given up.
pub(super) type Noted = Result<Ended, ClaimsError>;

/// What has ended.
pub(super) enum Ended {
    Buried(i64),
    /// As a record that is committed with the next cut.
    Held(i64, OutgoingRecord),
    Skipped(i64),
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    pub(super) fn bury(&mut self, offset: i64, attempts: u32) {
        let letter = self.held.letter(offset, attempts);
        assert!(letter.is_some(), "offset {offset} is to be buried and has no failure to tell of");
        let Some(letter) = letter else { return };
        if self.fenced.is_some() {
            return self.claim(Claim::Bury(letter), Ended::Buried(offset));
        }
        if let Some(basket) = &self.basket {
            let record = (basket.letters)(&letter);
            burial::tell_of(&letter);
            self.endings.spawn(std::future::ready(Ok(Ended::Held(offset, record))));
            return;
        }
        let dead_letters = self.shared.dead_letters.clone();
        let (lease, out) = (self.lease.clone(), self.intake.out());
        self.endings.spawn(async move {
            let _out = out;
            burial::until_acknowledged(dead_letters, lease, letter).await;
            Ok(Ended::Buried(offset))
        });
    }

    /// An operator gave the event up. Where no database keeps endings there is nothing to wait for: the
    /// group's commit tells of it, or it is asked for again.
    pub(super) fn note_skip(&mut self, offset: i64) {
        if self.fenced.is_some() {
            return self.claim(Claim::Skip(offset), Ended::Skipped(offset));
        }
        self.endings.spawn(std::future::ready(Ok(Ended::Skipped(offset))));
    }

    fn claim(&mut self, claim: Claim, ended: Ended) {
        let Some(fenced) = self.fenced.clone() else { return };
        let (source, out) = (self.partition.clone(), self.intake.out());
        self.endings.spawn(async move {
            let _out = out;
            fenced.until_claimed(claim, source).await.map(|()| ended)
        });
    }

    pub(super) fn noted(&mut self, noted: Noted) {
        match noted {
            Ok(Ended::Buried(offset)) => self.step(Input::Buried { offset }),
            Ok(Ended::Held(offset, record)) => {
                self.hold(offset, vec![record]);
                self.step(Input::Buried { offset });
            }
            Ok(Ended::Skipped(offset)) => self.skipped(offset),
            Err(error) => self.lost = Some(Arc::from(format!("the end of an event is not written: {error}"))),
        }
    }
}
