//! The floor follows the watermark, so that few claims are left for the next owner to read.
//!
//! Who owns: the owner, one prune at a time, in a task of its own so that no run waits for it. Who waits:
//! only a drain, for the last one, and not for long. Who wakes: the clock, or claims that are many. What
//! bounds: claims above the floor, at which nothing more is taken in.

use std::sync::Arc;
use std::time::Duration;

use keylane_lanes::GapSet;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Owner;
use crate::claims::ClaimsError;
use crate::ports::{DeadLetters, Runner};

/// The most claims above the floor at which a partition takes in more: whoever takes it reads them all.
pub(crate) const CLAIMS_ABOVE_FLOOR_MAX: usize = 100_000;

/// How often the floor is raised.
const PRUNE_EVERY: Duration = Duration::from_secs(5);
/// How often the floor is asked for where it needs no raising. An owner to whom no record comes would else
/// never learn that its database was replaced by an older copy, and what that took back would stay undone.
const CONFIRM_EVERY: Duration = Duration::from_secs(30);
/// So many claims that may go are not left until then.
const PRUNE_AT_CLAIMS: usize = CLAIMS_ABOVE_FLOOR_MAX / 5;
/// The longest that a drain waits for its last prune. What it leaves is pruned by the next owner.
const LAST_PRUNE_MAX: Duration = Duration::from_secs(2);

/// What the owner knows of the floor.
pub(super) struct Pruner {
    out: JoinSet<Result<(), ClaimsError>>,
    /// The floor, as it was read or raised last.
    floor: i64,
    /// Claims above it.
    claims: usize,
    /// What those two are when the prune that is out succeeds.
    then: (i64, usize),
    /// When the last one ended, or else the assignment began.
    rested_since: Instant,
    /// When a drain waits no longer.
    last_until: Option<Instant>,
    /// The last prune of a drain has begun.
    last_begun: bool,
    /// The one that ended last came to nothing.
    failed: bool,
}

impl Pruner {
    pub(super) fn new(restored: &GapSet) -> Self {
        let claims = restored.ended.iter().map(|range| range.end - range.start).sum::<i64>();
        let claims = usize::try_from(claims).unwrap_or(usize::MAX);
        Self {
            out: JoinSet::new(),
            floor: restored.base,
            claims,
            then: (restored.base, claims),
            rested_since: Instant::now(),
            last_until: None,
            last_begun: false,
            failed: false,
        }
    }

    pub(super) fn floor(&self) -> i64 {
        self.floor
    }

    pub(super) fn claims(&self) -> usize {
        self.claims
    }

    /// An event has ended with a claim.
    pub(super) fn note_claim(&mut self) {
        self.claims += 1;
        self.then.1 += 1;
    }

    /// The prune that is out, when it has ended; pending where none is.
    pub(super) async fn ended(&mut self) -> Result<(), ClaimsError> {
        match self.out.join_next().await {
            Some(ended) => super::joined(ended),
            None => std::future::pending().await,
        }
    }

    pub(super) async fn shutdown(&mut self) {
        self.out.shutdown().await;
    }
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// When the next prune begins, or a drain waits for the last one no longer.
    pub(super) fn prune_at(&self) -> Option<Instant> {
        if self.is_drained() {
            return None;
        }
        let next = self.can_prune().then(|| self.pruner.rested_since + self.rest());
        let last_until = self.pruner.last_until.filter(|_| self.lanes.is_quiet());
        next.into_iter().chain(last_until).min()
    }

    fn can_prune(&self) -> bool {
        self.fenced.is_some() && self.pruner.out.is_empty() && !self.is_drained()
    }

    /// Whether the floor is not where it might be.
    fn floor_lags(&self) -> bool {
        self.lanes.watermark() > self.pruner.floor
    }

    /// How long nothing is asked after a prune.
    fn rest(&self) -> Duration {
        if self.floor_lags() { PRUNE_EVERY } else { CONFIRM_EVERY }
    }

    /// Begins a prune if one is due.
    pub(super) fn keep_floor(&mut self) {
        let ends = self.fenced.is_some() && self.draining && self.lanes.is_quiet();
        if ends {
            self.pruner.last_until.get_or_insert_with(|| Instant::now() + LAST_PRUNE_MAX);
        }
        if !self.can_prune() {
            return;
        }
        let (watermark, above) = (self.lanes.watermark(), self.lanes.claims_above());
        let rested = self.pruner.rested_since.elapsed() >= self.rest();
        let many = !self.pruner.failed && self.pruner.claims.saturating_sub(above) >= PRUNE_AT_CLAIMS;
        let last = ends && self.floor_lags() && !self.pruner.last_begun;
        if rested || many || last {
            self.pruner.last_begun |= ends;
            self.begin_prune(watermark, above);
        }
    }

    fn begin_prune(&mut self, floor: i64, above: usize) {
        let Some(fenced) = self.fenced.clone() else { return };
        let (out, position) = (self.intake.out(), self.intake.leader_epochs.position_at(floor));
        self.pruner.then = (floor, above);
        self.pruner.out.spawn(async move {
            let _out = out;
            fenced.raise_floor(floor, position).await
        });
    }

    /// Who was overtaken has to stop for it, and so has who lost the connection: the database may be another
    /// by now. A database that is away is no reason: a floor that is too low does no harm.
    pub(super) fn pruned(&mut self, ended: Result<(), ClaimsError>) {
        self.pruner.rested_since = Instant::now();
        self.pruner.failed = ended.is_err();
        let meters = self.meters.claims.as_ref();
        match ended {
            Ok(()) => {
                (self.pruner.floor, self.pruner.claims) = self.pruner.then;
                meters.inspect(|meters| meters.prunes.increment(1));
            }
            Err(error @ (ClaimsError::NotOwner | ClaimsError::Unknown(_))) => {
                self.lost = Some(Arc::from(error.to_string()));
            }
            Err(error) => {
                meters.inspect(|meters| meters.prunes_failed.increment(1));
                tracing::warn!(
                    handler = self.shared.options.name,
                    source = %self.partition,
                    floor = self.pruner.floor,
                    %error,
                    "the floor was not raised; trying again"
                );
            }
        }
    }

    /// Whether a drain need not wait for the floor any more.
    pub(super) fn is_pruned(&self) -> bool {
        let Pruner { out, last_until, last_begun, .. } = &self.pruner;
        let done = out.is_empty() && (*last_begun || !self.floor_lags());
        self.fenced.is_none() || done || last_until.is_some_and(|until| until <= Instant::now())
    }

    /// Whether the claims leave room for records from `next` on. As with a commit's payload, what had ended
    /// before is nothing new. Without a database there are none, whatever the group's commit told of.
    pub(super) fn claims_admit(&self) -> bool {
        let few = self.fenced.is_none() || self.pruner.claims < CLAIMS_ABOVE_FLOOR_MAX;
        few || self.reporter.is_restored(self.next)
    }
}
