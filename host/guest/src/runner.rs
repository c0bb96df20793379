//! The runner: executes the engine's runs on a revision's instances.

use std::sync::Arc;

use keylane_capability::Delivery;
use keylane_engine::{Attempt, Outcome, RunControl, RunReport, Runner, TopicId};

use crate::attempt::carry_out;
use crate::failure::AttemptFailure;
use crate::held;
use crate::pool::{Lease, Pool};
use crate::progress::Progress;
use crate::revision::Revision;
use crate::transaction;

/// Runs events on warm instances of one revision. Cheap to clone; the clones share the instances.
///
/// The runs of a handler that writes to a database are transactions there. A run may be dropped at any
/// point: its transaction is rolled back and its instance ended. Of a run without one the event at work is
/// given up; events before it have ended in whatever way they did, and nobody is told.
#[derive(Clone)]
pub struct GuestRunner {
    pool: Arc<Pool>,
}

impl GuestRunner {
    /// A runner on this revision's instances.
    #[must_use]
    pub fn new(revision: &Revision) -> Self {
        Self { pool: revision.pool.clone() }
    }
}

impl Runner for GuestRunner {
    async fn run(&self, attempts: Vec<Attempt>, control: RunControl) -> RunReport {
        match self.pool.blueprint.prepared.write_database() {
            Some(database) => transaction::run(&self.pool, &**database, &attempts, control).await,
            None if self.pool.blueprint.prepared.is_in_cuts() => {
                held::run(&self.pool, &attempts, &control).await
            }
            None => self.run_each(&attempts, &control).await.into(),
        }
    }
}

impl GuestRunner {
    /// Each event by itself.
    async fn run_each(&self, attempts: &[Attempt], control: &RunControl) -> Vec<Outcome> {
        let mut progress = Progress::new(attempts.len(), &self.pool.deliveries);
        let mut lease = self.pool.take().await;
        for (index, attempt) in attempts.iter().enumerate() {
            if !progress.may_start(attempt.lane).await {
                continue;
            }
            // Asked last, after every wait. The first event always begins, so that a run gets somewhere.
            if index > 0 && !control.may_begin_next() {
                break;
            }
            match self.carry_out(&mut lease, attempt, control.topic_id()).await {
                Ok(delivery) => progress.hold(index, attempt.lane, delivery).await,
                Err(failure) => progress.fail(index, attempt.lane, failure),
            }
        }
        // The instance is free for the next run while this one waits for its acknowledgements.
        drop(lease);
        progress.end().await
    }

    async fn carry_out(
        &self,
        lease: &mut Lease,
        attempt: &Attempt,
        topic_id: TopicId,
    ) -> Result<Delivery, AttemptFailure> {
        lease.begin();
        let answer = match lease.instance().await {
            Ok(instance) => carry_out(instance, attempt, &self.pool.blueprint.limits, topic_id).await,
            Err(failure) => Err(failure),
        };
        if answer.is_err() {
            lease.fail();
        }
        lease.succeed();
        answer
    }
}
