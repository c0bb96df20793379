//! What the head of a lane has been charged with: its failures by class, and since when it is tried.

use std::collections::BTreeMap;

use crate::backoff;
use crate::failure::FailureClass;
use crate::policy::Policy;

/// The failures of one event. Only a lane's head can have any: whatever stands behind a failed event has
/// not begun.
#[derive(Debug, Default)]
pub(crate) struct Charges {
    failures: BTreeMap<FailureClass, u32>,
    /// When the run of the first attempt began.
    first_attempt_ms: Option<u64>,
}

impl Charges {
    /// Notes a failure of an attempt whose run began at `begun_ms`.
    pub(crate) fn add(&mut self, class: FailureClass, begun_ms: u64) {
        *self.failures.entry(class).or_default() += 1;
        self.first_attempt_ms.get_or_insert(begun_ms);
    }

    /// Failed attempts of every class: so many attempts were made.
    pub(crate) fn failures(&self) -> u32 {
        self.failures.values().sum()
    }

    /// Whether a failure of `class`, already noted, was the last one this event may have.
    pub(crate) fn are_used_up(&self, policy: &Policy, class: FailureClass, now_ms: u64) -> bool {
        self.of(class) >= policy.caps.of(class)
            || self.charged() >= policy.attempts_max
            || self.age_end_ms(policy).is_some_and(|end_ms| now_ms >= end_ms)
    }

    /// When the event may be tried again after a failure of `class`, already noted.
    pub(crate) fn next_try_ms(
        &self,
        policy: &Policy,
        offset: i64,
        class: FailureClass,
        after_ms: Option<u64>,
        now_ms: u64,
    ) -> u64 {
        let count = if class == FailureClass::Effects { self.of(class) } else { self.charged() };
        let wish_ms = after_ms.unwrap_or(0).min(policy.backoff_max_ms);
        let wait_ms = wish_ms.max(backoff::wait_ms(policy, offset, count));
        let until_ms = now_ms.saturating_add(wait_ms);
        self.age_end_ms(policy).map_or(until_ms, |end_ms| until_ms.min(end_ms))
    }

    fn of(&self, class: FailureClass) -> u32 {
        self.failures.get(&class).copied().unwrap_or(0)
    }

    /// The failures that are charged as attempts.
    fn charged(&self) -> u32 {
        self.failures() - self.of(FailureClass::Effects)
    }

    fn age_end_ms(&self, policy: &Policy) -> Option<u64> {
        Some(self.first_attempt_ms?.saturating_add(policy.age_max_ms?))
    }
}
