//! The census: how many instances of a revision live, were made, and why they ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// An event failed on it, or could not be committed.
    Failed,
    /// It has handled as many events as one instance may.
    Worn,
    /// Nobody needed it for a while.
    Idle,
    /// Its run was given up midway.
    Abandoned,
    /// Its run was undone, through no fault of its events.
    Undone,
    /// Its revision was put away.
    Retired,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Worn => "worn",
            Self::Idle => "idle",
            Self::Abandoned => "abandoned",
            Self::Undone => "undone",
            Self::Retired => "retired",
        }
    }
}

/// What became of a revision's instances so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InstanceCounts {
    /// Instances ever made.
    pub created: u64,
    /// Instances ended because an event failed on them.
    pub failed: u64,
    /// Instances replaced after their full number of events.
    pub worn: u64,
    /// Instances ended because nobody needed them.
    pub idle: u64,
    /// Instances ended because their run was given up midway.
    pub abandoned: u64,
    /// Instances ended because their run was undone, through no fault of its events.
    pub undone: u64,
}

impl InstanceCounts {
    /// Instances that live now.
    #[must_use]
    pub fn alive(&self) -> u64 {
        let ended = self.failed + self.worn + self.idle + self.abandoned + self.undone;
        self.created.saturating_sub(ended)
    }
}

/// Counts the instances of one revision, for the metrics and for whoever asks.
#[derive(Debug)]
pub(crate) struct Census {
    handler: Arc<str>,
    created: AtomicU64,
    failed: AtomicU64,
    worn: AtomicU64,
    idle: AtomicU64,
    abandoned: AtomicU64,
    undone: AtomicU64,
}

impl Census {
    pub(crate) fn new(handler: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            handler,
            created: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            worn: AtomicU64::new(0),
            idle: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            undone: AtomicU64::new(0),
        })
    }

    /// Registers a birth; the entry registers the death when it is dropped.
    pub(crate) fn born(self: &Arc<Self>) -> Entry {
        self.created.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("keylane_instances_created_total", "handler" => self.handler.to_string())
            .increment(1);
        metrics::gauge!("keylane_instances_alive", "handler" => self.handler.to_string()).increment(1.0);
        Entry { census: self.clone(), end: End::Retired }
    }

    pub(crate) fn counts(&self) -> InstanceCounts {
        InstanceCounts {
            created: self.created.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            worn: self.worn.load(Ordering::Relaxed),
            idle: self.idle.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
            undone: self.undone.load(Ordering::Relaxed),
        }
    }

    fn died(&self, end: End) {
        let count = match end {
            End::Failed => Some(&self.failed),
            End::Worn => Some(&self.worn),
            End::Idle => Some(&self.idle),
            End::Abandoned => Some(&self.abandoned),
            End::Undone => Some(&self.undone),
            // Nobody can ask a revision that was put away.
            End::Retired => None,
        };
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        metrics::counter!(
            "keylane_instances_dropped_total", "handler" => self.handler.to_string(), "reason" => end.name()
        )
        .increment(1);
        metrics::gauge!("keylane_instances_alive", "handler" => self.handler.to_string()).decrement(1.0);
    }
}

/// One living instance in the census.
#[derive(Debug)]
pub(crate) struct Entry {
    census: Arc<Census>,
    /// Why the instance ends, if it is dropped now.
    pub(crate) end: End,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.census.died(self.end);
    }
}
