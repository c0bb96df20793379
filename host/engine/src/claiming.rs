//! Claiming what ended outside of a run, in the handler's database: dead letters, and what an operator gave
//! up.

use std::sync::Arc;

use crate::backoff::Backoff;
use crate::burial;
use crate::claims::{Claims, ClaimsError, Fence};
use crate::event::TopicPartition;
use crate::ports::DeadLetter;

/// A handler's claims under the fence of one partition: what its owner writes with.
#[derive(Clone)]
pub(crate) struct Fenced {
    pub(crate) claims: Arc<dyn Claims>,
    pub(crate) fence: Fence,
}

/// An ending that is not a run's.
pub(crate) enum Claim {
    Bury(DeadLetter),
    Skip(i64),
}

impl Fenced {
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
        match claim {
            Claim::Bury(letter) => self.claims.bury(self.fence, letter.clone()).await,
            Claim::Skip(offset) => self.claims.skip(self.fence, *offset).await,
        }
    }

    /// Raises the floor, batch after batch.
    pub(crate) async fn raise_floor(self, floor: i64) -> Result<(), ClaimsError> {
        while self.claims.raise_floor(self.fence, floor).await? {}
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
