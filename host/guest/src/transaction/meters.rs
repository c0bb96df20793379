//! How often runs are undone and done once more, and cut short.

use std::sync::Arc;

use metrics::Counter;

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
    /// An instance that had served before may be at fault.
    Instance,
}

impl Why {
    const ALL: [Self; 5] = [Self::Failed, Self::Refused, Self::Claimed, Self::Conflict, Self::Instance];

    fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Claimed => "claimed",
            Self::Conflict => "conflict",
            Self::Instance => "instance",
        }
    }
}

/// The counters of one handler.
pub(crate) struct RunMeters {
    handler: Arc<str>,
    outbox_full: Counter,
}

impl RunMeters {
    /// All of them are shown from the start.
    pub(crate) fn of(handler: &Arc<str>) -> Self {
        for why in Why::ALL {
            let _ = undone(handler, why);
        }
        let outbox_full =
            metrics::counter!("keylane_run_outbox_full_total", "handler" => handler.to_string());
        Self { handler: handler.clone(), outbox_full }
    }

    /// A pass was undone, or one event of it.
    pub(crate) fn undone(&self, why: Why) {
        undone(&self.handler, why).increment(1);
    }

    /// A run ended before its last event because of what its events gave out.
    pub(crate) fn outbox_full(&self) {
        self.outbox_full.increment(1);
    }
}

fn undone(handler: &str, why: Why) -> Counter {
    metrics::counter!("keylane_runs_undone_total", "handler" => handler.to_owned(), "reason" => why.name())
}
