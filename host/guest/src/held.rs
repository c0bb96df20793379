//! Runs of a handler in cuts: what its events give out is answered with the run. Nothing has left by then, so
//! there is nothing to wait for, and a run that is broken off has done nothing.

use std::collections::HashSet;
use std::sync::Arc;

use keylane_engine::{Attempt, Outcome, OutgoingRecord, RunControl, RunReport};

use crate::attempt::carry_out_held;
use crate::failure::AttemptFailure;
use crate::pool::{Lease, Pool};
use crate::transaction::OUTBOX_BYTES_MAX;

/// Each event by itself, in order.
pub(crate) async fn run(pool: &Arc<Pool>, attempts: &[Attempt], control: &RunControl) -> RunReport {
    let mut outcomes = vec![Outcome::NotStarted; attempts.len()];
    let mut outputs: Vec<Vec<OutgoingRecord>> = vec![Vec::new(); attempts.len()];
    let mut stopped = HashSet::new();
    let mut bytes = 0;
    let mut lease = pool.take().await;
    let places = attempts.iter().zip(outcomes.iter_mut().zip(outputs.iter_mut()));
    for (index, (attempt, (outcome, output))) in places.enumerate() {
        if stopped.contains(&attempt.lane) {
            continue;
        }
        if bytes >= OUTBOX_BYTES_MAX {
            pool.run_meters.outbox_full();
            break;
        }
        // The first event always begins, so that a run gets somewhere.
        if index > 0 && !control.may_begin_next() {
            break;
        }
        match one(pool, &mut lease, attempt, control).await {
            Ok(records) => {
                bytes += records.iter().map(OutgoingRecord::weight_bytes).sum::<usize>();
                *output = records;
                *outcome = Outcome::Done;
            }
            Err(failure) => {
                stopped.insert(attempt.lane);
                *outcome = failure.into();
            }
        }
    }
    RunReport { outputs, ..outcomes.into() }
}

async fn one(
    pool: &Pool,
    lease: &mut Lease,
    attempt: &Attempt,
    control: &RunControl,
) -> Result<Vec<OutgoingRecord>, AttemptFailure> {
    lease.begin();
    let answer = match lease.instance().await {
        Ok(instance) => carry_out_held(instance, attempt, &pool.blueprint.limits, control.topic_id()).await,
        Err(failure) => Err(failure),
    };
    if answer.is_err() {
        lease.fail();
    }
    lease.succeed();
    answer
}
