//! How far a run is: the outcomes so far, and the deliveries that are not acknowledged yet.
//!
//! Order within a lane is kept here: a lane's next event starts when the delivery of the one before it is
//! acknowledged, and not at all when the one before it did not end well.

use std::collections::{HashSet, VecDeque};

use futures::future::join_all;
use keylane_capability::Delivery;
use keylane_engine::{Counted, Outcome};

use crate::failure::AttemptFailure;

/// Deliveries that one run may leave unacknowledged; past it the run waits for the oldest.
const UNACKNOWLEDGED_MAX: usize = 256;

/// The deliveries that a handler's runs wait for, as they are shown.
#[derive(Clone)]
pub(crate) struct DeliveryMeters {
    unacknowledged: metrics::Gauge,
    full: metrics::Counter,
}

impl DeliveryMeters {
    pub(crate) fn of(handler: &str) -> Self {
        let handler = handler.to_owned();
        Self {
            unacknowledged: metrics::gauge!("keylane_run_deliveries_unacknowledged", "handler" => handler.clone()),
            full: metrics::counter!("keylane_run_deliveries_full_total", "handler" => handler),
        }
    }
}

/// Effects under way.
struct Unacknowledged {
    index: usize,
    lane: u64,
    delivery: Delivery,
    counted: Counted,
}

/// The story of one run.
pub(crate) struct Progress {
    outcomes: Vec<Outcome>,
    unacknowledged: VecDeque<Unacknowledged>,
    stopped: HashSet<u64>,
    meters: DeliveryMeters,
}

impl Progress {
    /// A run of so many attempts, none of them begun.
    pub(crate) fn new(attempts: usize, meters: &DeliveryMeters) -> Self {
        Self {
            meters: meters.clone(),
            outcomes: vec![Outcome::NotStarted; attempts],
            unacknowledged: VecDeque::new(),
            stopped: HashSet::new(),
        }
    }

    /// Waits until everything earlier of this lane is acknowledged, and answers whether its next event
    /// may start.
    pub(crate) async fn may_start(&mut self, lane: u64) -> bool {
        // There is one at most: the lane's events before it waited here, too.
        let earlier = self.unacknowledged.iter().position(|earlier| earlier.lane == lane);
        if let Some(place) = earlier {
            self.settle(place).await;
        }
        !self.stopped.contains(&lane)
    }

    /// The handler answered ok and its transaction is committed.
    pub(crate) async fn hold(&mut self, index: usize, lane: u64, delivery: Delivery) {
        if delivery.is_empty() {
            return self.set(index, Outcome::Done);
        }
        let counted = Counted::new(&self.meters.unacknowledged);
        self.unacknowledged.push_back(Unacknowledged { index, lane, delivery, counted });
        while self.unacknowledged.len() > UNACKNOWLEDGED_MAX {
            self.meters.full.increment(1);
            self.settle(0).await;
        }
    }

    /// The attempt failed: nothing more of its lane starts in this run.
    pub(crate) fn fail(&mut self, index: usize, lane: u64, failure: AttemptFailure) {
        self.stopped.insert(lane);
        self.set(index, failure.into());
    }

    /// Awaits all that is under way, together, and answers the outcomes.
    pub(crate) async fn end(mut self) -> Vec<Outcome> {
        let all = std::mem::take(&mut self.unacknowledged);
        let (ends, deliveries): (Vec<_>, Vec<_>) =
            all.into_iter().map(|one| ((one.index, one.lane, one.counted), one.delivery)).unzip();
        for ((index, lane, _counted), answer) in ends.into_iter().zip(join_all(deliveries).await) {
            self.acknowledge(index, lane, answer);
        }
        self.outcomes
    }

    async fn settle(&mut self, place: usize) {
        if let Some(one) = self.unacknowledged.remove(place) {
            let answer = one.delivery.await;
            self.acknowledge(one.index, one.lane, answer);
        }
    }

    fn acknowledge(&mut self, index: usize, lane: u64, answer: Result<(), keylane_capability::EffectsError>) {
        match answer {
            Ok(()) => self.set(index, Outcome::Done),
            Err(error) => self.fail(index, lane, AttemptFailure::effects(&error)),
        }
    }

    fn set(&mut self, index: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = outcome;
        }
    }
}
