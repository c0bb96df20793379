//! How the next pass over a run is made: what is known of its events, and how carefully it goes.

use std::collections::{BTreeMap, BTreeSet};

use keylane_engine::{Attempt, Outcome};

use crate::failure::AttemptFailure;

/// The most events of a pass with savepoints. Past 64 in one transaction PostgreSQL's memory of them for each
/// backend overflows, and all others pay for it.
const SAVEPOINTS_MAX: usize = 60;

/// The plan.
#[derive(Debug)]
pub(super) struct Plan {
    attempts: usize,
    /// Whether each event has a savepoint.
    pub(super) savepoints: bool,
    /// The most events that begin.
    pub(super) most: usize,
    /// Events that need not begin: by their index, with their outcome.
    settled: BTreeMap<usize, Outcome>,
    /// Events that get an instance which has served nobody.
    fresh: BTreeSet<usize>,
}

impl Plan {
    /// The plan of a first pass: without savepoints, unless an event among others has failed before.
    pub(super) fn new(attempts: &[Attempt]) -> Self {
        let mut plan = Self {
            attempts: attempts.len(),
            savepoints: false,
            most: attempts.len(),
            settled: BTreeMap::new(),
            fresh: BTreeSet::new(),
        };
        if attempts.len() > 1 && attempts.iter().any(|attempt| attempt.number > 1) {
            plan.use_savepoints();
        }
        plan
    }

    /// An event may be at fault that cannot be told from its neighbours: each pass is of one.
    pub(super) fn go_singly(&mut self) {
        self.most = 1;
    }

    /// What is known of an event already.
    pub(super) fn settled(&self, index: usize) -> Option<&Outcome> {
        self.settled.get(&index)
    }

    /// Whether an event needs an instance that has served nobody.
    pub(super) fn is_fresh(&self, index: usize) -> bool {
        self.fresh.contains(&index)
    }

    /// What is known of all events.
    pub(super) fn outcomes(&self) -> Vec<Outcome> {
        let known = |index| self.settled.get(&index).cloned().unwrap_or(Outcome::NotStarted);
        (0..self.attempts).map(known).collect()
    }

    /// An event failed and its pass is undone. Only with savepoints, or alone, is it known that it fails by
    /// itself; and where its instance had `served` before, only in a fresh one.
    pub(super) fn failed(&mut self, index: usize, failure: AttemptFailure, served: bool) {
        if !self.savepoints && !self.is_alone() {
            return self.use_savepoints();
        }
        if failure.may_be_the_instances() && served && self.fresh.insert(index) {
            return;
        }
        self.charge(index, failure);
    }

    /// An event failed by itself, as far as anybody knows.
    pub(super) fn charge(&mut self, index: usize, failure: AttemptFailure) {
        self.settled.insert(index, failure.into());
    }

    /// The commit of what these events did was refused, and it is not known whose fault it is unless there
    /// was but one.
    pub(super) fn refused(&mut self, done: &[usize], reason: &str) {
        match done {
            [only] => self.charge(*only, AttemptFailure::not_taken(reason)),
            _ if self.savepoints => self.most = 1,
            _ => self.use_savepoints(),
        }
    }

    /// An event has ended before. Answers whether that is news.
    pub(super) fn ended_before(&mut self, index: usize) -> bool {
        self.settled.insert(index, Outcome::Done).is_none()
    }

    /// Another transaction was in the way: a shorter one meets fewer.
    pub(super) fn shorten(&mut self) {
        self.most = (self.most / 2).max(1);
    }

    fn use_savepoints(&mut self) {
        self.savepoints = true;
        self.most = self.most.min(SAVEPOINTS_MAX);
    }

    /// Whether a pass is of one event.
    fn is_alone(&self) -> bool {
        self.most == 1 || self.attempts.saturating_sub(self.settled.len()) == 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use keylane_capability::bindings::Failure;
    use keylane_engine::{Event, TopicPartition};

    use super::*;

    fn reject() -> AttemptFailure {
        AttemptFailure::answered(Failure::Reject("no".to_owned()))
    }

    fn timeout() -> AttemptFailure {
        AttemptFailure::timed_out(std::time::Duration::from_secs(1), "")
    }

    fn plan_of(attempts: i64) -> Plan {
        let attempt = |offset| Attempt {
            event: Arc::new(Event {
                source: TopicPartition { topic: "facts".into(), partition: 0 },
                offset,
                timestamp: None,
                key: None,
                value: None,
                headers: Vec::new(),
            }),
            number: 1,
            lane: 0,
        };
        Plan::new(&(0..attempts).map(attempt).collect::<Vec<_>>())
    }

    fn charged(plan: &Plan) -> Vec<usize> {
        let outcomes = plan.outcomes();
        (0..outcomes.len()).filter(|index| matches!(outcomes[*index], Outcome::Failed { .. })).collect()
    }

    #[test]
    fn a_failure_without_savepoints_charges_nobody_and_goes_on_with_them() {
        let mut plan = plan_of(100);
        plan.failed(7, reject(), true);
        assert!(plan.savepoints && charged(&plan).is_empty());
        assert_eq!(plan.most, SAVEPOINTS_MAX);
        plan.failed(7, reject(), true);
        assert_eq!(charged(&plan), [7]);
    }

    #[test]
    fn an_event_alone_is_charged_at_once_unless_its_instance_may_be_at_fault() {
        let mut plan = plan_of(1);
        plan.failed(0, timeout(), true);
        assert!(plan.is_fresh(0) && charged(&plan).is_empty());
        plan.failed(0, timeout(), false);
        assert_eq!(charged(&plan), [0]);
        let mut plan = plan_of(1);
        plan.failed(0, reject(), true);
        assert_eq!(charged(&plan), [0], "a verdict is the event's own");
    }

    #[test]
    fn a_refused_commit_is_narrowed_down_to_one_event() {
        let mut plan = plan_of(3);
        plan.refused(&[0, 1, 2], "no");
        assert!(plan.savepoints && charged(&plan).is_empty());
        plan.refused(&[0, 1, 2], "no");
        assert_eq!(plan.most, 1);
        plan.refused(&[0], "no");
        assert_eq!(charged(&plan), [0]);
    }
}
