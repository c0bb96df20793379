//! An operator's word to handle events again: what is asked, what it comes to, and what is refused.
//!
//! What a partition has ended stands under its highest replay number. A replay gives it the next one, with a floor of
//! its own and no claims. The former number keeps its claims, for who wants to know what was done; its epoch is
//! passed, so that nobody writes under it any more.

use crate::error::DatabaseError;

/// What is to be handled again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The fleet.
    pub fleet: String,
    /// The handler.
    pub handler: String,
    /// The topic's name. Where several topics had it, the latest is meant.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// Whether events below that, which have not ended, may be passed over.
    pub skip: bool,
    /// The replay number that it is to have, as a look has told; none only looks. So the same said twice is done
    /// once, also where nobody heard that it was done.
    pub number: Option<i64>,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The new replay number.
    pub replay: i64,
    /// The former number's floor.
    pub floor: i64,
    /// Behind the last offset that had ended.
    pub ended_to: i64,
    /// How many offsets at or above the request's had ended, and are handled again.
    pub again: i64,
    /// How many offsets below it had not, and are passed over.
    pub skipped: i64,
}

/// Why nothing is handled again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The handler has no progress there.
    #[error(
        "the database has no progress of this handler in {topic}[{partition}]: it was never handled, or by another fleet"
    )]
    NoProgress {
        /// The topic's name.
        topic: String,
        /// The partition's number.
        partition: i32,
    },
    /// Events would never be handled.
    #[error(
        "below offset {from} there are {offsets} offsets, from {floor} on, that have not ended: they would never be handled"
    )]
    Skips {
        /// The offset that was asked for.
        from: i64,
        /// Where the floor stands.
        floor: i64,
        /// How many.
        offsets: i64,
    },
    /// A replay of the partition came first, maybe this very one.
    #[error(
        "the next replay of the partition has the number {next}: it was set back since, maybe by this very command"
    )]
    Meanwhile {
        /// The number of the next one.
        next: i64,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl ReplayError {
    /// Whether the same may succeed later without any change.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Database(error) => error.can_retry(),
            Self::NoProgress { .. } | Self::Skips { .. } | Self::Meanwhile { .. } => false,
        }
    }
}

/// How a partition stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The database's number for it, under its highest replay number.
    pub(crate) stream: i64,
    pub(crate) replay: i64,
    pub(crate) floor: i64,
    /// Claims at or above the floor that lie below the request's offset.
    pub(crate) claims_below: i64,
    /// Claims at or above both.
    pub(crate) claims_above: i64,
    /// The highest claim.
    pub(crate) last: Option<i64>,
}

impl Standing {
    /// What the request comes to.
    pub(crate) fn judge(&self, request: &ReplayRequest) -> Result<Replayed, ReplayError> {
        let (from, floor, next) = (request.from, self.floor, self.replay.saturating_add(1));
        if request.number.is_some_and(|number| number != next) {
            return Err(ReplayError::Meanwhile { next });
        }
        let skipped = from.saturating_sub(floor).saturating_sub(self.claims_below).max(0);
        if skipped > 0 && !request.skip {
            return Err(ReplayError::Skips { from, floor, offsets: skipped });
        }
        Ok(Replayed {
            replay: next,
            floor,
            ended_to: self.last.map_or(floor, |last| floor.max(last.saturating_add(1))),
            again: floor.saturating_sub(from).max(0).saturating_add(self.claims_above),
            skipped,
        })
    }
}

pub(crate) fn no_progress(request: &ReplayRequest) -> ReplayError {
    ReplayError::NoProgress { topic: request.topic.clone(), partition: request.partition }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(from: i64, skip: bool) -> ReplayRequest {
        let (fleet, handler, topic) = ("fleet".to_owned(), "handler".to_owned(), "orders".to_owned());
        ReplayRequest { fleet, handler, topic, partition: 0, from, skip, number: None }
    }

    #[test]
    fn what_would_never_be_handled_is_refused() {
        let (claims_below, claims_above, last) = (0, 2, Some(14));
        let standing = Standing { stream: 1, replay: 0, floor: 10, claims_below, claims_above, last };
        let lower = standing.judge(&request(4, false)).unwrap();
        assert_eq!(lower, Replayed { replay: 1, floor: 10, ended_to: 15, again: 8, skipped: 0 });
        let some = Standing { claims_below: 2, claims_above: 0, ..standing };
        let refused = some.judge(&request(14, false)).unwrap_err();
        assert_eq!(refused, ReplayError::Skips { from: 14, floor: 10, offsets: 2 });
        assert_eq!(some.judge(&request(14, true)).unwrap().skipped, 2);
        let meant = ReplayRequest { number: Some(1), ..request(14, true) };
        assert!(some.judge(&meant).is_ok());
        let later = Standing { replay: 1, ..some.clone() };
        assert_eq!(later.judge(&meant), Err(ReplayError::Meanwhile { next: 2 }));
        assert_eq!(some.judge(&request(12, false)).map(|replayed| replayed.skipped), Ok(0));
    }
}
