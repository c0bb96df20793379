//! What the policy says of an event's failures, worked out from the trace alone.

use std::collections::BTreeMap;

use keylane_engine::FailureClass;
use keylane_lanes::Policy;

use crate::trace::{Entry, How, Note};

/// An event in one assignment: the assignment's number and the offset.
pub type Tried = (u64, i64);

/// The failures of one event.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    by_class: BTreeMap<FailureClass, u32>,
    /// When the run of its first failed attempt began.
    first_run_ms: Option<u64>,
    pub last: Option<FailureClass>,
    /// No attempt may follow by itself.
    pub used_up: bool,
    /// None may follow before this time.
    pub earliest_ms: u64,
    /// An operator asked to go on with it; whether that was granted is not known here.
    pub may_be_afresh: bool,
}

impl Failures {
    pub fn total(&self) -> u32 {
        self.by_class.values().sum()
    }

    fn of(&self, class: FailureClass) -> u32 {
        self.by_class.get(&class).copied().unwrap_or(0)
    }

    fn add(&mut self, policy: &Policy, failed: &Failed, begun_ms: u64, now_ms: u64) {
        let class = failed.class;
        *self.by_class.entry(class).or_default() += 1;
        self.last = Some(class);
        let age_end_ms = policy.age_max_ms.map(|age_ms| *self.first_run_ms.get_or_insert(begun_ms) + age_ms);
        let effects = self.of(FailureClass::Effects);
        let charged = self.total() - effects;
        let caps = &policy.caps;
        let cap = match class {
            FailureClass::Retry => caps.retry,
            FailureClass::Trap => caps.trap,
            FailureClass::Timeout => caps.timeout,
            FailureClass::Memory => caps.memory,
            FailureClass::Effects => caps.effects,
            FailureClass::Reject | FailureClass::Undeliverable => 1,
        };
        let too_old = age_end_ms.is_some_and(|end_ms| now_ms >= end_ms);
        self.used_up = self.of(class) >= cap || charged >= policy.attempts_max || too_old;
        let count = if class == FailureClass::Effects { effects } else { charged };
        let doubled_ms = policy.backoff_ms.saturating_mul(1 << (count - 1).min(30));
        let full_ms = doubled_ms.min(policy.backoff_max_ms);
        let wish_ms = failed.after_ms.unwrap_or(0).min(policy.backoff_max_ms);
        let until_ms = now_ms + wish_ms.max(full_ms - full_ms / 4);
        self.earliest_ms = age_end_ms.map_or(until_ms, |end_ms| until_ms.min(end_ms));
    }
}

/// An attempt that failed in a run that is out.
#[derive(Debug)]
struct Failed {
    tried: Tried,
    class: FailureClass,
    after_ms: Option<u64>,
}

/// The failures of all events, while walking through a trace.
#[derive(Debug, Default)]
pub struct Ledger {
    pub failures: BTreeMap<Tried, Failures>,
    /// When each run began, and what failed in it.
    runs: BTreeMap<u64, (u64, Vec<Failed>)>,
    /// For how long each host slept: policies are timed by a clock that stood still.
    slept_ms: BTreeMap<u8, u64>,
}

impl Ledger {
    /// The time of an entry on the clock of its host.
    pub fn clock_ms(&self, entry: &Entry) -> u64 {
        entry.at_ms - self.slept_ms.get(&entry.host).copied().unwrap_or(0)
    }

    /// Takes in what an entry says of failures. A run tells of them when it ends, not before.
    pub fn take(&mut self, policy: &Policy, entry: &Entry) {
        let now_ms = self.clock_ms(entry);
        match &entry.note {
            Note::Started => drop(self.slept_ms.remove(&entry.host)),
            Note::Slept { slept_ms } => *self.slept_ms.entry(entry.host).or_default() += slept_ms,
            Note::RunBegan { run, .. } => drop(self.runs.insert(*run, (now_ms, Vec::new()))),
            Note::Ended { number, run, offset, how: How::Failed(class), after_ms, .. } => {
                if let Some((_, failed)) = self.runs.get_mut(run) {
                    failed.push(Failed { tried: (*number, *offset), class: *class, after_ms: *after_ms });
                }
            }
            Note::RunGone { run, answered, .. } => {
                let (begun_ms, failed) = self.runs.remove(run).unwrap_or_default();
                for failed in failed.into_iter().filter(|_| *answered) {
                    let failures = self.failures.entry(failed.tried).or_default();
                    failures.add(policy, &failed, begun_ms, now_ms);
                }
            }
            Note::Refused { number, offset, .. } => {
                let (tried, class) = ((*number, *offset), FailureClass::Undeliverable);
                let failed = Failed { tried, class, after_ms: None };
                self.failures.entry(tried).or_default().add(policy, &failed, now_ms, now_ms);
            }
            Note::Began { number, offset, attempt: 1, .. } => {
                let tried = (*number, *offset);
                if self.failures.get(&tried).is_some_and(|failures| failures.may_be_afresh) {
                    self.failures.remove(&tried);
                }
            }
            Note::Resumed { number, offset, .. } => {
                let mine = self.failures.range_mut((*number, i64::MIN)..=(*number, i64::MAX));
                for (_, failures) in mine.filter(|((_, one), _)| offset.is_none_or(|offset| offset == *one)) {
                    failures.may_be_afresh = true;
                }
            }
            _ => {}
        }
    }
}
