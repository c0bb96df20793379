//! Claiming what ended outside of a run, in the handler's database: dead letters, and what an operator gave
//! up.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::backoff::Backoff;
use crate::burial;
use crate::claims::{Claims, ClaimsError, Fence};
use crate::event::TopicPartition;
use crate::leader_epochs::LogPosition;
use crate::ports::DeadLetter;

/// The most endings of one partition that its database writes down at once. Each is a transaction of its own,
/// and what waits for the database too long gives the partition up; so a burst of them waits here, where waiting
/// has no end. There are no more of them than events that the partition holds.
const CLAIMS_AT_ONCE_MAX: usize = 8;

/// A handler's claims under the fence of one partition: what its owner writes with.
#[derive(Clone)]
pub(crate) struct Fenced {
    claims: Arc<dyn Claims>,
    pub(crate) fence: Fence,
    /// Who waits: endings, in the order in which they came. Who wakes: one that was answered, also while it waits
    /// to be tried again.
    places: Arc<Semaphore>,
}

/// An ending that is not a run's.
pub(crate) enum Claim {
    Bury(DeadLetter),
    Skip(i64),
}

impl Fenced {
    pub(crate) fn new(claims: Arc<dyn Claims>, fence: Fence) -> Self {
        Self { claims, fence, places: Arc::new(Semaphore::new(CLAIMS_AT_ONCE_MAX)) }
    }

    /// Ends when the claim is committed: then its event has ended. What the database refuses is tried again
    /// for as long as the partition is owned, as a dead letter that the broker refuses.
    ///
    /// # Errors
    /// Whatever else the database answers: the partition is to be taken anew, since another host may own it,
    /// or the claim may be written. An event that was claimed twice is no fault, so nothing is lost by that.
    pub(crate) async fn until_claimed(self, claim: Claim, source: TopicPartition) -> Result<(), ClaimsError> {
        let mut backoff = Backoff::new();
        while let Err(error) = self.claim(&claim).await {
            let ClaimsError::Refused(refused) = error else { return Err(error) };
            tracing::error!(
                %source,
                offset = claim.offset(),
                refused,
                wait_ms = backoff.next_ms(),
                "the database does not take the end of an event; trying again"
            );
            backoff.wait().await;
        }
        if let Claim::Bury(letter) = &claim {
            burial::tell_of(letter);
        }
        Ok(())
    }

    async fn claim(&self, claim: &Claim) -> Result<(), ClaimsError> {
        // Refused only by a semaphore that is closed, which nobody does.
        let _place = self.places.acquire().await.ok();
        match claim {
            Claim::Bury(letter) => self.claims.bury(self.fence, letter.clone()).await,
            Claim::Skip(offset) => self.claims.skip(self.fence, *offset).await,
        }
    }

    /// Raises the floor, batch after batch.
    pub(crate) async fn raise_floor(
        self,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Result<(), ClaimsError> {
        while self.claims.raise_floor(self.fence, floor, position).await? {}
        Ok(())
    }
}

impl Claim {
    fn offset(&self) -> i64 {
        match self {
            Self::Bury(letter) => letter.event.offset,
            Self::Skip(offset) => *offset,
        }
    }
}
