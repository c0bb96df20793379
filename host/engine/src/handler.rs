//! One handler in this host: what its partitions' owners share, and how an owner is started.

use std::sync::Arc;
use std::time::Duration;

use keylane_lanes::Policy;
use tokio::runtime::Handle;

use crate::admission::{Filter, LaneRule};
use crate::assignment::Assignment;
use crate::budget::HostBudget;
use crate::claims::Claims;
use crate::cuts::{Basket, LetterForm};
use crate::ending::Ownership;
use crate::inbox::{Inbox, InboxLimits, Owners, inbox};
use crate::meters;
use crate::owner::Owner;
use crate::ports::{DeadLetters, Runner};
use crate::progress::ProgressMaker;
use crate::slots::Slots;
use crate::tally::{Count, Tally};

/// How a handler's events are delivered.
#[derive(Debug, Clone)]
pub struct HandlerOptions {
    /// The handler's name, for logs and metrics.
    pub name: String,
    /// Which records become events.
    pub filter: Filter,
    /// What must run one after another.
    pub lanes: LaneRule,
    /// Attempts, backoff, length of runs.
    pub policy: Policy,
    /// Runs of this handler at once in this host.
    pub slots: usize,
    /// How much of one partition may be in the host.
    pub inbox: InboxLimits,
    /// How much of all partitions of all handlers may be: one for the whole host.
    pub budget: Arc<HostBudget>,
    /// The watchdog: a run that is out for longer is reported with its keys.
    pub stuck_after: Duration,
}

/// What the owners of one handler's partitions share. Nothing here is ordered by partition: the slots
/// have a queue of their own, the tally only counts.
pub(crate) struct Shared<R, D> {
    pub(crate) options: HandlerOptions,
    pub(crate) runner: Arc<R>,
    pub(crate) dead_letters: Arc<D>,
    /// Where its progress is the truth, for a handler with a write database.
    pub(crate) claims: Option<Arc<dyn Claims>>,
    /// For a handler in cuts.
    pub(crate) letters: Option<LetterForm>,
    /// Bounds the runs of this handler and shares them out among its partitions.
    pub(crate) slots: Arc<Slots>,
    pub(crate) tally: Arc<Tally>,
}

impl<R, D> Shared<R, D> {
    /// A handler with a write database owns nothing without a fence, and one without it has none.
    fn maker(&self, assignment: &Assignment) -> ProgressMaker {
        assert_eq!(self.claims.is_some(), assignment.fence.is_some(), "a fence is of the handler's database");
        match &self.claims {
            Some(claims) => ProgressMaker::beside(claims.database(), assignment.token),
            None => ProgressMaker::of_group(assignment.token, assignment.topic_id),
        }
    }

    /// Where a handler in cuts holds its records.
    pub(crate) fn basket(&self, assignment: &mut Assignment) -> Option<Basket> {
        let refused = assignment.refused.take();
        assert_eq!(
            self.letters.is_some(),
            refused.is_some(),
            "an intake cuts for whom is in cuts, and no other"
        );
        let letters = self.letters.clone()?;
        Some(Basket::new(letters, refused.unwrap_or_default()))
    }
}

/// One handler in this host. Implements [`Owners`]: the intake asks it for an owner of each partition
/// that Kafka assigns.
pub struct HandlerEngine<R, D> {
    shared: Arc<Shared<R, D>>,
    runtime: Handle,
}

impl<R: Runner, D: DeadLetters> HandlerEngine<R, D> {
    /// A handler that runs on `runtime`, where its owners' tasks will live.
    pub fn new(
        options: HandlerOptions,
        runner: Arc<R>,
        dead_letters: Arc<D>,
        claims: Option<Arc<dyn Claims>>,
        runtime: Handle,
    ) -> Self {
        Self::make(options, (runner, dead_letters), claims, None, runtime)
    }

    /// A handler without a database whose records are committed together with the progress ([`crate::Snapshot`]),
    /// its dead letters among them: `letters` makes their records, and nothing goes to `dead_letters`.
    pub fn in_cuts(
        options: HandlerOptions,
        runner: Arc<R>,
        dead_letters: Arc<D>,
        letters: LetterForm,
        runtime: Handle,
    ) -> Self {
        Self::make(options, (runner, dead_letters), None, Some(letters), runtime)
    }

    fn make(
        options: HandlerOptions,
        (runner, dead_letters): (Arc<R>, Arc<D>),
        claims: Option<Arc<dyn Claims>>,
        letters: Option<LetterForm>,
        runtime: Handle,
    ) -> Self {
        meters::tell_limits(&options);
        let slots = Slots::new(&options.name, options.slots);
        let tally = Arc::new(Tally::default());
        let shared = Shared { options, runner, dead_letters, claims, letters, slots, tally };
        Self { shared: Arc::new(shared), runtime }
    }

    /// What became of this handler's events since it started.
    #[must_use]
    pub fn tally(&self) -> Arc<Tally> {
        self.shared.tally.clone()
    }
}

impl<R: Runner, D: DeadLetters> Owners for HandlerEngine<R, D> {
    fn assign(&self, mut assignment: Assignment) -> Inbox {
        let shared = self.shared.clone();
        let (maker, basket) = (shared.maker(&assignment), shared.basket(&mut assignment));
        let (poller, intake) = inbox(&assignment, &maker, &shared.options);
        let (source, ownership) = (assignment.partition.clone(), intake.ownership.clone());
        let owner = self.runtime.spawn(Owner::new(shared.clone(), assignment, intake, (maker, basket)).run());
        // A panic of an owner is a broken promise of the host itself: it is never swallowed. The
        // partition stops, says so, and its progress stays where it was.
        self.runtime.spawn(async move {
            if let Err(fault) = owner.await {
                tracing::error!(
                    handler = shared.options.name,
                    %source,
                    %fault,
                    "the partition stopped on a fault of the host"
                );
                shared.tally.add(Count::Faulted, 1);
                ownership.send_replace(Ownership::Faulted);
            }
        });
        poller
    }
}
