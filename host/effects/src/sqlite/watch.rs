//! Watches one SQLite connection from inside: for whom it works, and when a statement must stop.
//!
//! The connection's own thread calls the hooks; the task that holds the connection sets the flags before it
//! sends a statement. Nobody waits. A commit while a guest's statement runs is refused: whatever ended the
//! transaction under it, its own rows must not be committed alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::sqlite::LockedSqliteHandle;

use crate::sqlite::authorizer::Mode;

/// How many steps of SQLite's machine lie between two looks at the deadline.
const STEPS_BETWEEN_LOOKS: i32 = 4_000;

/// What is known of one connection.
pub(crate) struct Watch {
    origin: Instant,
    /// When the statement under way must stop, in nanoseconds since `origin`.
    deadline_ns: AtomicU64,
    /// Nobody waits for this connection any more: stop what it does.
    abandoned: AtomicBool,
    /// For whom the statement under way runs.
    mode: AtomicU8,
    /// The transaction was rolled back, by whatever.
    rolled_back: AtomicBool,
}

impl Watch {
    /// Sets the hooks on a connection.
    pub(crate) fn install(handle: &mut LockedSqliteHandle<'_>) -> Arc<Self> {
        let watch = Arc::new(Self {
            origin: Instant::now(),
            deadline_ns: AtomicU64::new(u64::MAX),
            abandoned: AtomicBool::new(false),
            mode: AtomicU8::new(Mode::Host as u8),
            rolled_back: AtomicBool::new(false),
        });
        let hook = watch.clone();
        handle.set_progress_handler(STEPS_BETWEEN_LOOKS, move || hook.may_go_on());
        let hook = watch.clone();
        handle.set_commit_hook(move || hook.mode() == Mode::Host);
        let hook = watch.clone();
        handle.set_rollback_hook(move || hook.rolled_back.store(true, Ordering::Release));
        watch
    }

    /// A transaction begins.
    pub(crate) fn begin_transaction(&self) {
        self.rolled_back.store(false, Ordering::Release);
    }

    /// Whether the transaction was rolled back since it began. SQLite says so before it goes back to
    /// committing each statement by itself.
    pub(crate) fn rolled_back(&self) -> bool {
        self.rolled_back.load(Ordering::Acquire)
    }

    /// For whom the statement under way runs.
    pub(crate) fn mode(&self) -> Mode {
        Mode::from_number(self.mode.load(Ordering::Acquire))
    }

    /// A statement begins, for this one, that must stop after this time.
    pub(crate) fn begin(&self, mode: Mode, time: Duration) {
        self.mode.store(mode as u8, Ordering::Release);
        let until = self.origin.elapsed().saturating_add(time);
        self.deadline_ns.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Whether the deadline has passed.
    pub(crate) fn late(&self) -> bool {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        now >= self.deadline_ns.load(Ordering::Acquire)
    }

    /// Stops what the connection does; it is about to be closed.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    fn may_go_on(&self) -> bool {
        !self.abandoned.load(Ordering::Acquire) && !self.late()
    }
}
