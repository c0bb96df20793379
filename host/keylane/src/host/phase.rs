//! The phases of a host's life: the same words in code, logs, metrics and documents.

use std::fmt;

use tokio::sync::watch;

/// Where a host stands. It only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Reaching the brokers, checking topics, opening databases, compiling components.
    Starting,
    /// Every handler has joined its group and knows its partitions.
    Assigned,
    /// Every partition's start is settled: events are handled.
    Running,
    /// Nothing new is begun; what runs is being finished.
    Draining,
    /// Everything has ended and its progress is committed.
    Stopped,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        })
    }
}

/// The phase of this host, for whoever wants to see it. Cloned freely; each change is logged once.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    phase: watch::Sender<Phase>,
}

impl Life {
    /// A host that begins to start.
    pub(crate) fn begin() -> Self {
        tracing::info!(phase = %Phase::Starting, "keylane host");
        Self { phase: watch::Sender::new(Phase::Starting) }
    }

    /// Where the host stands.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes forward to a phase; a step back or in place is none.
    pub(crate) fn advance(&self, to: Phase) {
        let moved = self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            *phase = (*phase).max(to);
            forward
        });
        if moved {
            tracing::info!(phase = %to, "keylane host");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_only_goes_forward() {
        let life = Life::begin();
        life.advance(Phase::Draining);
        life.advance(Phase::Running);
        assert_eq!(life.phase(), Phase::Draining);
    }
}
