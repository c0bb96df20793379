//! The board: what the admin port shows of the host, and by which readiness is judged.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keylane_kafka::Health;
use tokio::sync::watch;

use super::phase::{Life, Phase};

/// How often the phases are looked at while the host comes up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The health of each handler's consumer, by the handler's name.
pub(crate) type Healths = Vec<(String, watch::Receiver<Health>)>;

/// Cheap to clone. The handlers are put up once, when their consumers exist; before that the host is
/// starting and not ready.
#[derive(Clone)]
pub(crate) struct Board {
    life: Life,
    handlers: Arc<OnceLock<Healths>>,
}

impl Board {
    /// The board of a host that begins to start.
    pub(crate) fn new(life: Life) -> Self {
        Self { life, handlers: Arc::default() }
    }

    /// The phases of the host.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Puts the handlers up. The first time counts.
    pub(crate) fn put_up(&self, handlers: Healths) {
        let _already = self.handlers.set(handlers);
    }

    /// Whether starting the process anew could not help: no handler's consumer has given up for good.
    pub(crate) fn is_alive(&self) -> bool {
        let failed = |health: &watch::Receiver<Health>| matches!(*health.borrow(), Health::Failed { .. });
        !self.handlers.get().into_iter().flatten().any(|(_, health)| failed(health))
    }

    /// Whether the host does its work, and a line on itself and on each handler.
    pub(crate) fn readiness(&self) -> (bool, String) {
        let phase = self.life.phase();
        let mut ready = matches!(phase, Phase::Assigned | Phase::Running);
        let mut text = format!("host: {phase}\n");
        for (name, health) in self.handlers.get().into_iter().flatten() {
            let health = health.borrow();
            ready &= has_settled(&health) && !has_fault(&health);
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{name}: {}", *health);
        }
        (ready, text)
    }

    /// Advances the phases to assigned and running as the handlers get there, and ends.
    pub(crate) async fn follow(self) {
        while self.life.phase() < Phase::Running {
            let handlers = self.handlers.get().map(Vec::as_slice).unwrap_or_default();
            let all = |holds: fn(&Health) -> bool| handlers.iter().all(|(_, health)| holds(&health.borrow()));
            if !handlers.is_empty() && all(has_settled) {
                self.life.advance(Phase::Assigned);
                if all(is_reading) {
                    self.life.advance(Phase::Running);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Whether the group has told this member its partitions. A member that got none, because there are more
/// hosts than partitions, is a standby and well.
fn has_settled(health: &Health) -> bool {
    matches!(health, Health::Assigned { .. } | Health::Unassigned { joined: true, .. })
}

fn has_fault(health: &Health) -> bool {
    matches!(health, Health::Assigned { faulted, .. } if !faulted.is_empty())
}

/// Whether every partition it has is being read.
fn is_reading(health: &Health) -> bool {
    match health {
        Health::Assigned { waiting, .. } => *waiting == 0,
        other => has_settled(other),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn board_with(health: Health) -> Board {
        let board = Board::new(Life::begin());
        board.put_up(vec![("accounting".to_owned(), watch::channel(health).1)]);
        board.life().advance(Phase::Assigned);
        board
    }

    fn assigned(faulted: Vec<keylane_kafka::PartitionFault>) -> Health {
        Health::Assigned { partitions: 3, waiting: 0, faulted }
    }

    #[test]
    fn a_host_that_starts_is_not_ready() {
        let (ready, text) = Board::new(Life::begin()).readiness();
        assert!(!ready);
        assert_eq!(text, "host: starting\n");
    }

    #[test]
    fn a_host_is_ready_when_all_its_partitions_are_read() {
        assert!(board_with(assigned(vec![])).readiness().0);
        let connecting = Health::Connecting { since: Instant::now(), last_error: None };
        let (ready, text) = board_with(connecting).readiness();
        assert!(!ready && text.contains("accounting: connecting"), "{text}");
    }

    #[test]
    fn a_faulted_partition_is_red_and_named() {
        let partition = keylane_engine::TopicPartition { topic: "tasks".into(), partition: 2 };
        let fault = keylane_kafka::PartitionFault { partition, reason: "records lost".to_owned() };
        let (ready, text) = board_with(assigned(vec![fault])).readiness();
        assert!(!ready && text.contains("tasks[2]") && text.contains("records lost"), "{text}");
    }

    #[test]
    fn a_consumer_that_gave_up_ends_liveness() {
        assert!(board_with(assigned(vec![])).is_alive());
        let board = board_with(Health::Failed { reason: "fenced".to_owned() });
        assert!(!board.is_alive() && !board.readiness().0);
    }

    #[test]
    fn a_standby_without_partitions_is_well() {
        let idle = |joined| Health::Unassigned { since: Instant::now(), joined, reason: None };
        assert!(board_with(idle(true)).readiness().0);
        assert!(!board_with(idle(false)).readiness().0, "its group has not answered yet");
    }
}
