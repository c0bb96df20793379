//! The policy of a handler, as far as ordering, retries and their end need it.

use crate::failure::FailureClass;

/// Named limits and choices of one partition's ordering engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Failed attempts before the last step, of all classes but [`FailureClass::Effects`] together. At
    /// least 1. They are counted in memory: after a hand-over or a restart they start anew.
    pub attempts_max: u32,
    /// Failed attempts of one class before the last step.
    pub caps: ClassCaps,
    /// How long an event may be tried, in milliseconds from the beginning of the run of its first
    /// attempt; none for ever. A failure of any class at this age or beyond leads to the last step, and
    /// no wait reaches past it, so the last attempt begins when the age is reached at the latest.
    pub age_max_ms: Option<u64>,
    /// The wait after the first failed attempt, in milliseconds; it doubles with each further one.
    pub backoff_ms: u64,
    /// The longest wait between two attempts, in milliseconds.
    pub backoff_max_ms: u64,
    /// The last step: what becomes of an event whose attempts are used up, or that was rejected.
    pub then: Then,
    /// When too many bad endings stop the partition; none never. Only [`Then::DeadLetter`] asks for it:
    /// the other last steps stop by themselves.
    pub flood: Option<Flood>,
    /// The most events in one run. At least 1.
    pub run_events_max: usize,
    /// The time of a run, in milliseconds: a run gets no more events than fit into it by the measured
    /// mean time per event, and at least one.
    pub slice_ms: u64,
    /// The most records between the watermark and the newest arrival. Above it the partition asks
    /// for no more records until the watermark moves: it bounds the ledger's memory.
    pub gap_max: usize,
}

/// How many failures of one class an event may have before the last step, each at least 1. A rejected
/// event has no cap: its first failure is its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassCaps {
    /// For [`FailureClass::Retry`].
    pub retry: u32,
    /// For [`FailureClass::Trap`].
    pub trap: u32,
    /// For [`FailureClass::Timeout`].
    pub timeout: u32,
    /// For [`FailureClass::Memory`].
    pub memory: u32,
    /// For [`FailureClass::Effects`].
    pub effects: u32,
}

/// The last step of an event that can't be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It goes to the dead letters, and its lane goes on.
    DeadLetter,
    /// Its lane waits for an operator, and the others go on.
    PauseLane,
    /// The partition begins nothing more and waits for an operator.
    Stop,
}

/// The flood breaker: the partition halts when more than a share of its recent events ended badly.
///
/// Counted are the events that were handled or took the last step; what was filtered, condemned or
/// skipped by an operator is not. It trips as soon as no good endings could fill the window to a smaller
/// share, so a partition that only fails halts before the window is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// How many of the latest endings are looked at. At least 1.
    pub window_events: usize,
    /// More than this share of the window halts the partition, in percent; 100 never does.
    pub share_percent: u8,
}

impl Policy {
    /// Fails on a policy that no manifest may ask for.
    pub(crate) fn assert_sound(&self) {
        assert!(self.attempts_max >= 1, "an event needs an attempt");
        assert!(self.run_events_max >= 1, "a run needs an event");
        assert!(self.gap_max >= 1, "a partition needs room for a record");
        let ClassCaps { retry, trap, timeout, memory, effects } = self.caps;
        assert!([retry, trap, timeout, memory, effects].iter().all(|cap| *cap >= 1), "a cap is at least 1");
        let sound = |flood: Flood| flood.window_events >= 1 && flood.share_percent <= 100;
        assert!(self.flood.is_none_or(sound), "a flood is a share of at least one event");
    }
}

impl ClassCaps {
    /// The cap of a class; 1 where no later attempt can help.
    pub(crate) fn of(&self, class: FailureClass) -> u32 {
        match class {
            FailureClass::Retry => self.retry,
            FailureClass::Trap => self.trap,
            FailureClass::Timeout => self.timeout,
            FailureClass::Memory => self.memory,
            FailureClass::Effects => self.effects,
            FailureClass::Reject | FailureClass::Undeliverable => 1,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            caps: ClassCaps::default(),
            age_max_ms: None,
            backoff_ms: 500,
            backoff_max_ms: 60_000,
            then: Then::DeadLetter,
            flood: Some(Flood { window_events: 200, share_percent: 50 }),
            run_events_max: 100,
            slice_ms: 50,
            gap_max: 100_000,
        }
    }
}

impl Default for ClassCaps {
    /// Retries are bounded by [`Policy::attempts_max`] alone.
    fn default() -> Self {
        Self { retry: u32::MAX, trap: 3, timeout: 3, memory: 3, effects: 1_000 }
    }
}
