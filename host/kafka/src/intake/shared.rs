//! What an intake's handle, its polling thread and its watchdog share.
//!
//! Who owns: all of them together. Who waits: nobody for longer than one write to memory. Who wakes: the
//! [`Doorbell`], the polling thread.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// What [`Shared::lag`] holds while the lag is not known.
pub(super) const LAG_UNKNOWN: i64 = -1;

/// Wakes the polling thread. Ringing never blocks and may be done by anybody.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    pub(super) thread: OnceLock<Thread>,
}

impl Doorbell {
    pub(super) fn ring(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What the handle and the polling thread share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Set once: until when partitions may drain.
    stop: OnceLock<Instant>,
    pub(super) doorbell: Arc<Doorbell>,
    pub(super) lag: AtomicI64,
    /// When the thread began its latest turn.
    turned_at: Mutex<Instant>,
    /// Set when the thread has ended.
    pub(super) over: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            stop: OnceLock::new(),
            doorbell: Arc::new(Doorbell::default()),
            lag: AtomicI64::new(LAG_UNKNOWN),
            turned_at: Mutex::new(Instant::now()),
            over: AtomicBool::new(false),
        }
    }

    /// The thread begins a turn. The lock is held for one assignment, by the thread and the watchdog.
    pub(super) fn turned(&self) {
        *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long the latest turn has taken. None when the thread has ended.
    pub(super) fn turn_age(&self) -> Option<Duration> {
        let turned_at = *self.turned_at.lock().unwrap_or_else(PoisonError::into_inner);
        (!self.over.load(Ordering::Acquire)).then(|| turned_at.elapsed())
    }

    pub(super) fn stop_at(&self) -> Option<Instant> {
        self.stop.get().copied()
    }

    pub(super) fn ask_to_stop(&self, until: Instant) {
        // The first wish counts.
        let _already = self.stop.set(until);
        self.doorbell.ring();
    }
}

/// Tells whether an intake's polling thread turns. Cheap to clone; it does not keep the intake alive.
#[derive(Debug, Clone)]
pub struct Pulse {
    shared: Arc<Shared>,
}

impl Pulse {
    pub(super) fn of(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone() }
    }

    /// How long the thread has been at its latest turn, milliseconds where all is well; while partitions
    /// drain, since it last looked at them. None when the thread has ended: its health says why.
    #[must_use]
    pub fn turn_age(&self) -> Option<Duration> {
        self.shared.turn_age()
    }
}
