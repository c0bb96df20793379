//! The engine's port to a handler's database, over the model's line.

use std::collections::BTreeMap;
use std::sync::Arc;

use keylane_engine::{
    Boxed, Claims, ClaimsError, DeadLetter, Fence, Hold, LogPosition, TopicId, TopicPartition,
};

use super::line::Line;
use super::request::{Answer, Request};
use crate::process::Process;
use crate::runner::number_of;
use crate::trace::{Note, Place};

/// The id of a handler's database.
pub fn database_id(handler: u8) -> String {
    format!("{:032x}", u32::from(handler) + 0xA1)
}

/// One handler's claims in one host.
pub struct ModelClaims {
    pub handler: u8,
    pub id: String,
    pub process: Arc<Process>,
    pub line: Arc<Line>,
}

/// A letter on its way. Dropping it writes down that nobody waits for it any more.
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

/// Something else that is under way. Dropping it writes down that nobody waits for it any more.
struct NotingOut<'a> {
    process: &'a Process,
    place: Place,
}

impl Drop for NotingOut<'_> {
    fn drop(&mut self) {
        self.process.note(Note::NotingGone { place: self.place });
    }
}

impl ModelClaims {
    fn noting(&self, fence: Fence) -> NotingOut<'_> {
        let place = Place { handler: self.handler, partition: fence.stream as i32 };
        self.process.note(Note::Noting { place });
        NotingOut { process: &self.process, place }
    }

    async fn end(&self, request: Request) -> Result<(), ClaimsError> {
        match self.line.ask(request).await {
            Answer::Done => Ok(()),
            answer => Err(error(answer)),
        }
    }
}

fn error(answer: Answer) -> ClaimsError {
    match answer {
        Answer::NotOwner => ClaimsError::NotOwner,
        Answer::Unavailable => ClaimsError::Unavailable("the model does not answer".to_owned()),
        answer => ClaimsError::Unknown(format!("the model says {answer:?}")),
    }
}

impl Claims for ModelClaims {
    fn database(&self) -> &str {
        &self.id
    }

    fn settle<'a>(
        &'a self,
        _topic: &'a str,
        _topic_id: TopicId,
        offered: &'a [(i32, i64)],
    ) -> Boxed<'a, Result<BTreeMap<i32, i64>, ClaimsError>> {
        Box::pin(async move {
            match self.line.ask(Request::Settle { offered: offered.to_vec() }).await {
                Answer::Settled(stands) => Ok(stands),
                answer => Err(error(answer)),
            }
        })
    }

    fn take<'a>(
        &'a self,
        partition: &'a TopicPartition,
        _topic_id: TopicId,
    ) -> Boxed<'a, Result<Option<Hold>, ClaimsError>> {
        Box::pin(async move {
            match self.line.ask(Request::Take { partition: partition.partition }).await {
                Answer::Taken(hold) => Ok(hold),
                answer => Err(error(answer)),
            }
        })
    }

    fn bury(&self, fence: Fence, letter: DeadLetter) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(async move {
            let event = &letter.event;
            let place = Place { handler: self.handler, partition: event.source.partition };
            let (number, offset) = (number_of(event), event.offset);
            let (attempts, class) = (letter.attempts, letter.class);
            self.process.note(Note::LetterAsked { place, number, offset, attempts, class });
            let _out = LetterOut { process: &self.process, place, number, offset };
            self.end(Request::Bury { fence, offset }).await?;
            self.process.saw("dead letter claimed");
            self.process.note(Note::LetterAcked { place, number, offset });
            Ok(())
        })
    }

    fn skip(&self, fence: Fence, offset: i64) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(async move {
            let _out = self.noting(fence);
            self.end(Request::Skip { fence, offset }).await?;
            self.process.saw("skip claimed");
            Ok(())
        })
    }

    /// The model's log is never cut, so that it keeps no position.
    fn raise_floor(
        &self,
        fence: Fence,
        floor: i64,
        _position: Option<LogPosition>,
    ) -> Boxed<'_, Result<bool, ClaimsError>> {
        Box::pin(async move {
            let _out = self.noting(fence);
            match self.line.ask(Request::Raise { fence, floor }).await {
                Answer::Done => Ok(false),
                Answer::More => Ok(true),
                answer => Err(error(answer)),
            }
        })
    }
}
