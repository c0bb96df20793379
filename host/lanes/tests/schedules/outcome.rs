//! What a failure should lead to, from an event's whole list of failures: the policy, written once more
//! and without counters.

use keylane_lanes::{FailureClass, Policy};

/// The failures of one event since it arrived or was resumed.
#[derive(Default, Clone)]
pub struct Failures {
    pub classes: Vec<FailureClass>,
    pub first_begun_ms: Option<u64>,
}

pub enum Outcome {
    LastStep,
    /// It comes back between these two times.
    Wait {
        from_ms: u64,
        to_ms: u64,
    },
}

impl Failures {
    pub fn add(
        &mut self,
        policy: &Policy,
        class: FailureClass,
        after_ms: Option<u64>,
        begun_ms: u64,
        now_ms: u64,
    ) -> Outcome {
        self.classes.push(class);
        let first_ms = *self.first_begun_ms.get_or_insert(begun_ms);
        let gives_up_ms = policy.age_max_ms.map_or(u64::MAX, |age_ms| first_ms + age_ms);
        let alike = self.classes.iter().filter(|other| **other == class).count() as u32;
        let ours = |class: &&FailureClass| **class != FailureClass::Effects;
        let charged = self.classes.iter().filter(ours).count() as u32;
        let (cap, count) = match class {
            FailureClass::Reject | FailureClass::Undeliverable => return Outcome::LastStep,
            FailureClass::Retry => (policy.caps.retry, charged),
            FailureClass::Trap => (policy.caps.trap, charged),
            FailureClass::Timeout => (policy.caps.timeout, charged),
            FailureClass::Memory => (policy.caps.memory, charged),
            FailureClass::Effects => (policy.caps.effects, alike),
        };
        if alike == cap || charged == policy.attempts_max || now_ms >= gives_up_ms {
            return Outcome::LastStep;
        }
        let full_ms = (policy.backoff_ms << (count - 1)).min(policy.backoff_max_ms);
        let wish_ms = after_ms.unwrap_or(0).min(policy.backoff_max_ms);
        let until = |wait_ms: u64| (now_ms + wait_ms.max(wish_ms)).min(gives_up_ms);
        Outcome::Wait { from_ms: until(full_ms - full_ms / 4), to_ms: until(full_ms) }
    }
}
