//! The model of the dead letters: a topic that sometimes refuses, and sometimes does not answer.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{DeadLetter, DeadLetters, OutgoingRecord, PublishError};

use crate::cuts::record_of;
use crate::database::{Row, What};
use crate::process::Process;
use crate::runner::number_of;
use crate::trace::{Note, Place};
use crate::wire::{Answer, Request};

/// One handler's dead letters in one host.
pub struct ModelLetters {
    pub handler: u8,
    pub process: Arc<Process>,
}

/// A letter that is committed with the next cut: the event has ended in its lane now, and for good then.
pub fn held_letter(handler: u8, process: &Process, letter: &DeadLetter) -> OutgoingRecord {
    let event = &letter.event;
    let place = Place { handler, partition: event.source.partition };
    let (number, offset) = (number_of(event), event.offset);
    let (attempts, class) = (letter.attempts, letter.class);
    process.note(Note::LetterAsked { place, number, offset, attempts, class });
    process.note(Note::LetterAcked { place, number, offset });
    process.note(Note::LetterGone { place, number, offset });
    record_of(Row { partition: place.partition, offset, what: What::Letter })
}

/// A letter on its way. Dropping it writes down that nobody sends it any more.
struct LetterOut<'a> {
    process: &'a Process,
    place: Place,
    number: u64,
    offset: i64,
}

impl Drop for LetterOut<'_> {
    fn drop(&mut self) {
        let Self { place, number, offset, .. } = *self;
        self.process.note(Note::LetterGone { place, number, offset });
    }
}

impl DeadLetters for ModelLetters {
    async fn bury(&self, letter: DeadLetter) -> Result<(), PublishError> {
        let event = &letter.event;
        let place = Place { handler: self.handler, partition: event.source.partition };
        let (number, offset) = (number_of(event), event.offset);
        let (attempts, class) = (letter.attempts, letter.class);
        self.process.note(Note::LetterAsked { place, number, offset, attempts, class });
        let out = LetterOut { process: &self.process, place, number, offset };
        let limit = Duration::from_millis(self.process.plan.group.request_ms);
        let answer = self.process.wire.ask(self.handler, Request::Bury, limit).await;
        if matches!(answer, Some(Answer::Buried)) {
            self.process.saw("dead letter acknowledged");
            self.process.note(Note::LetterAcked { place, number, offset });
            drop(out);
            return Ok(());
        }
        let reason = format!("the model says {answer:?}");
        Err(PublishError { topic: "dead letters".to_owned(), reason, can_retry: true })
    }
}
