//! How an assignment ends: what its owner tells of that, and how the runs and the poller learn of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// How the owner's story with this assignment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Runs are started and finished.
    Running,
    /// Nothing new is started; what runs is being finished.
    Draining,
    /// Nothing runs any more and the progress is final.
    Drained,
    /// The partition stopped on a fault of the host itself; the progress is final.
    Faulted,
    /// The policy stopped the partition: nothing more begins until an operator resumes it. Its progress is
    /// committed as before.
    Halted {
        /// For people.
        reason: Arc<str>,
    },
    /// The lease ran out: nothing more begins, what ran is broken off, and nothing is to be committed.
    Expired,
    /// The handler's database says that another has taken the partition, or does not say how it stands:
    /// nothing more begins, what ran is broken off, and nothing is to be committed. Whoever is still a
    /// member takes it anew.
    Overtaken {
        /// For people.
        reason: Arc<str>,
    },
}

impl Ownership {
    /// Whether the owner is done, one way or the other: the progress does not change any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Drained | Self::Faulted) || self.is_lost()
    }

    /// Whether another host may own the partition by now: nothing is to be said of it in the group's name
    /// until the membership is proven again.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Expired | Self::Overtaken { .. })
    }
}

/// Tells the runs that are out to begin no further event. Dropped with the inbox, it tells them as well.
pub(crate) struct Stop(pub(crate) Arc<AtomicBool>);

impl Stop {
    pub(crate) fn tell(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.tell();
    }
}

/// Held by whatever the owner has out, for as long as it is: see [`Parting::is_gone`].
pub(crate) struct Out(
    #[expect(dead_code, reason = "held, and never looked at")] pub(crate) watch::Sender<Ownership>,
);

/// An assignment that is being ended.
pub struct Parting(pub(crate) watch::Receiver<Ownership>);

impl Parting {
    /// Whether the owner has ended, and with it everything that it had out.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        // The owner and each of its runs and dead letters hold this channel's other end. It is not enough that
        // the owner is gone: one that fell has waited for nobody.
        self.0.has_changed().is_err()
    }
}
