//! How often runs are undone and done once more, and cut short; and the word about those that wait for locks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keylane_engine::TopicPartition;
use metrics::Counter;

/// Time between two words about runs that are given up for locks.
const SAY_LOCKED_EVERY: Duration = Duration::from_secs(60);

/// Why a pass over a run was undone, or one event of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// An event failed.
    Failed,
    /// The database refused the commit.
    Refused,
    /// An event had ended before.
    Claimed,
    /// Another transaction was in the way.
    Conflict,
    /// Another transaction keeps a lock.
    Locked,
    /// An instance that had served before may be at fault.
    Instance,
}

impl Why {
    const ALL: [Self; 6] =
        [Self::Failed, Self::Refused, Self::Claimed, Self::Conflict, Self::Locked, Self::Instance];

    fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Claimed => "claimed",
            Self::Conflict => "conflict",
            Self::Locked => "locked",
            Self::Instance => "instance",
        }
    }
}

/// The counters of one handler.
pub(crate) struct RunMeters {
    handler: Arc<str>,
    outbox_full: Counter,
    /// When it was last said that runs are given up for locks.
    locked_said: Mutex<Option<Instant>>,
}

impl RunMeters {
    /// All of them are shown from the start.
    pub(crate) fn of(handler: &Arc<str>) -> Self {
        for why in Why::ALL {
            let _ = undone(handler, why);
        }
        let outbox_full =
            metrics::counter!("keylane_run_outbox_full_total", "handler" => handler.to_string());
        Self { handler: handler.clone(), outbox_full, locked_said: Mutex::default() }
    }

    /// A pass was undone, or one event of it.
    pub(crate) fn undone(&self, why: Why) {
        undone(&self.handler, why).increment(1);
    }

    /// A run ended before its last event because of what its events gave out.
    pub(crate) fn outbox_full(&self) {
        self.outbox_full.increment(1);
    }

    /// A run of this partition was given up because another transaction keeps a lock. It comes again, and nobody is
    /// charged however long that goes on: so it is said now and then.
    pub(crate) fn locked_out(&self, partition: &TopicPartition, reason: &str) {
        let mut said = self.locked_said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if !is_due(*said, now) {
            return;
        }
        *said = Some(now);
        let (handler, topic, partition) = (&*self.handler, &*partition.topic, partition.partition);
        tracing::warn!(
            handler,
            topic,
            partition,
            reason,
            "events wait because another transaction keeps a lock; they are tried again until it is gone"
        );
    }
}

fn is_due(said: Option<Instant>, now: Instant) -> bool {
    said.is_none_or(|said| now.duration_since(said) >= SAY_LOCKED_EVERY)
}

fn undone(handler: &str, why: Why) -> Counter {
    metrics::counter!("keylane_runs_undone_total", "handler" => handler.to_owned(), "reason" => why.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_lock_is_kept_is_said_once_a_minute() {
        let begun = Instant::now();
        assert!(is_due(None, begun));
        assert!(!is_due(Some(begun), begun + SAY_LOCKED_EVERY - Duration::from_millis(1)));
        assert!(is_due(Some(begun), begun + SAY_LOCKED_EVERY));
    }
}
