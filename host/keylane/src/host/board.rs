//! The board: what the admin port shows of the host, and by which readiness is judged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use keylane_effects::RelayStatus;
use keylane_kafka::{Health, Looker, Pulse};
use tokio::sync::watch;

use super::phase::{Life, Phase};

/// How often the phases are looked at while the host comes up.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A polling thread that has been at one turn for so long hangs, and only a new process helps. Its longest
/// honest turns wait for brokers that are away, some seconds for each of their limits; a drain, which may take
/// half a session, counts as many short ones. The client itself gives a silent thread as long before it leaves
/// the group.
const TURN_LIMIT: Duration = Duration::from_secs(5 * 60);

/// One handler of the host, as the board shows it.
pub(crate) struct Posted {
    /// Its name.
    pub(crate) name: String,
    /// How its consumer is doing.
    pub(crate) health: watch::Receiver<Health>,
    /// Looks at its partitions.
    pub(crate) looker: Looker,
    /// Whether its polling thread turns.
    pub(crate) pulse: Pulse,
    /// What the relay of its outbox does, if it has one.
    pub(crate) relay: Option<watch::Receiver<RelayStatus>>,
}

/// Cheap to clone. Each handler is put up once, when its consumer exists; before all are, the host is starting
/// and not ready.
#[derive(Clone)]
pub(crate) struct Board {
    life: Life,
    /// By their place in the host file.
    handlers: Arc<Mutex<BTreeMap<usize, Arc<Posted>>>>,
    /// Handlers that do not run yet, and why.
    wanting: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Board {
    /// The board of a host that begins to start.
    pub(crate) fn new(life: Life) -> Self {
        Self { life, handlers: Arc::default(), wanting: Arc::default() }
    }

    /// The phases of the host.
    pub(crate) fn life(&self) -> &Life {
        &self.life
    }

    /// Puts a handler up, which has this place in the host file.
    pub(crate) fn put_up(&self, place: usize, handler: Posted) {
        let name = handler.name.clone();
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).insert(place, Arc::new(handler));
        self.wanting.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
    }

    /// Says what keeps a handler from starting, until it is put up.
    pub(crate) fn waits_for(&self, handler: &str, reason: String) {
        self.wants(handler, format!("waiting: {reason}"));
    }

    /// Says why a handler will not start before a person has done something about it.
    pub(crate) fn cannot_start(&self, handler: &str, reason: String) {
        self.wants(handler, format!("cannot start: {reason}"));
    }

    fn wants(&self, handler: &str, words: String) {
        self.wanting.lock().unwrap_or_else(PoisonError::into_inner).insert(handler.to_owned(), words);
    }

    /// The handlers that do not run yet, and why, in words.
    pub(crate) fn wanting(&self) -> BTreeMap<String, String> {
        self.wanting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a handler does not run yet.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.wanting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The handlers that were put up, in the order of the host file.
    pub(crate) fn handlers(&self) -> Vec<Arc<Posted>> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// What only a new process can mend, a line for each handler: none where the host is alive.
    pub(crate) fn ailments(&self) -> Vec<String> {
        // A host that stops is bounded by its own limits, and is to be left to them.
        let stopping = self.life.phase() >= Phase::Draining;
        let ailment = |handler: &Arc<Posted>| {
            let turn_age = handler.pulse.turn_age().filter(|_| !stopping);
            ailment(&handler.name, &handler.health.borrow(), turn_age)
        };
        self.handlers().iter().filter_map(ailment).collect()
    }

    /// Whether the host does its work, and a line on itself and on each handler.
    pub(crate) fn readiness(&self) -> (bool, String) {
        let handlers = self.handlers();
        let now: Vec<Now<'_>> = handlers.iter().map(|handler| Now::of(handler)).collect();
        let (mut ready, mut text) = judge(self.life.phase(), &now);
        for (handler, words) in self.wanting() {
            ready = false;
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{handler}: {words}");
        }
        (ready, text)
    }

    /// Advances the phases to assigned and running as all handlers get there, and ends.
    pub(crate) async fn follow(self) {
        while self.life.phase() < Phase::Running {
            let handlers = self.handlers();
            let all =
                |holds: fn(&Health) -> bool| handlers.iter().all(|handler| holds(&handler.health.borrow()));
            if !handlers.is_empty() && !self.is_waiting() && all(has_settled) {
                self.life.advance(Phase::Assigned);
                if all(is_reading) {
                    self.life.advance(Phase::Running);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A handler at one moment.
struct Now<'a> {
    name: &'a str,
    health: Health,
    relay: Option<RelayStatus>,
}

impl<'a> Now<'a> {
    fn of(handler: &'a Posted) -> Self {
        let relay = handler.relay.as_ref().map(|relay| relay.borrow().clone());
        Self { name: &handler.name, health: handler.health.borrow().clone(), relay }
    }
}

/// What a relay does, in words.
pub(crate) fn relay_words(relay: &RelayStatus) -> String {
    match relay {
        RelayStatus::Opening => "opening the way to Kafka".to_owned(),
        RelayStatus::Relaying => "relaying".to_owned(),
        RelayStatus::WithoutMail => {
            "relaying records, but mails wait, and this host's file has no [mail] that says how they leave"
                .to_owned()
        }
        RelayStatus::Standby { by } => format!("standing by, {by} relays"),
        RelayStatus::Failing { reason } => format!("cannot send: {reason}"),
        RelayStatus::Stopped { reason } => format!("stopped: {reason}"),
    }
}

/// Whether what waits in an outbox leaves it, here or by another host.
fn leaves(relay: &RelayStatus) -> bool {
    !matches!(relay, RelayStatus::WithoutMail | RelayStatus::Failing { .. } | RelayStatus::Stopped { .. })
}

/// Whether a host in this phase with these handlers does its work, and what to say of it.
fn judge(phase: Phase, handlers: &[Now<'_>]) -> (bool, String) {
    let mut ready = matches!(phase, Phase::Assigned | Phase::Running);
    let mut text = format!("host: {phase}\n");
    for Now { name, health, relay } in handlers {
        ready &= has_settled(health) && !has_stopped_partitions(health) && !cannot_commit(health);
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "{name}: {health}");
        if let Some(relay) = relay.as_ref().filter(|relay| !leaves(relay)) {
            ready = false;
            let _infallible = writeln!(text, "{name}'s outbox: {}", relay_words(relay));
        }
    }
    (ready, text)
}

/// What ails a handler that a new process would mend: its consumer has given up for good, or hangs.
fn ailment(name: &str, health: &Health, turn_age: Option<Duration>) -> Option<String> {
    if let Health::Failed { .. } = health {
        return Some(format!("{name}: {health}"));
    }
    let turn_age = turn_age.filter(|age| *age > TURN_LIMIT)?;
    Some(format!("{name}: its polling thread hangs, at one turn for {} s", turn_age.as_secs()))
}

/// Whether the group has told this member its partitions. A member that got none, because there are more
/// hosts than partitions, is a standby and well.
fn has_settled(health: &Health) -> bool {
    matches!(health, Health::Assigned { .. } | Health::Unassigned { joined: true, .. })
}

/// Whether a partition is not read any more, on a fault or because an operator has to decide.
fn has_stopped_partitions(health: &Health) -> bool {
    matches!(health, Health::Assigned { faulted, .. } if !faulted.is_empty())
}

/// Whether partitions cannot be taken because the handler's write database does not let them, or the
/// transactions of a handler in cuts come to nothing.
fn cannot_commit(health: &Health) -> bool {
    matches!(health, Health::Assigned { database: Some(_), .. } | Health::Assigned { cuts: Some(_), .. })
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

    use keylane_kafka::PartitionFault;

    use super::*;

    fn judged(health: Health) -> (bool, String) {
        judge(Phase::Assigned, &[Now { name: "accounting", health, relay: None }])
    }

    fn assigned(faulted: Vec<PartitionFault>) -> Health {
        Health::Assigned { partitions: 3, waiting: 0, database: None, cuts: None, faulted }
    }

    fn stopped(reason: &str) -> Vec<PartitionFault> {
        let partition = keylane_engine::TopicPartition { topic: "tasks".into(), partition: 2 };
        vec![PartitionFault { partition, reason: reason.to_owned() }]
    }

    #[test]
    fn a_host_that_starts_is_not_ready() {
        let (ready, text) = Board::new(Life::begin()).readiness();
        assert!(!ready);
        assert_eq!(text, "host: starting\n");
    }

    #[test]
    fn a_handler_that_does_not_run_yet_ends_readiness_and_says_why() {
        let board = Board::new(Life::begin());
        board.life().advance(Phase::Running);
        assert!(board.readiness().0);
        board.waits_for("accounting", "the database sqlite://ledger.db does not answer".to_owned());
        let (ready, text) = board.readiness();
        assert!(!ready && board.is_waiting());
        assert_eq!(
            text,
            "host: running\naccounting: waiting: the database sqlite://ledger.db does not answer\n"
        );
        board.cannot_start("accounting", "a migration was edited".to_owned());
        let (ready, text) = board.readiness();
        assert!(!ready);
        assert_eq!(text, "host: running\naccounting: cannot start: a migration was edited\n");
    }

    #[test]
    fn a_host_is_ready_when_all_its_partitions_are_read() {
        assert!(judged(assigned(vec![])).0);
        let connecting = Health::Connecting { since: Instant::now(), last_error: None };
        let (ready, text) = judged(connecting);
        assert!(!ready && text.contains("accounting: connecting"), "{text}");
    }

    #[test]
    fn a_partition_that_stopped_is_red_and_named() {
        for reason in ["records lost", "halted: offset 17 used up its attempts"] {
            let (ready, text) = judged(assigned(stopped(reason)));
            assert!(!ready && text.contains("tasks[2]") && text.contains(reason), "{text}");
        }
    }

    #[test]
    fn a_database_that_is_away_is_told_and_ends_readiness() {
        let database = Some("connection refused".to_owned());
        let (ready, text) =
            judged(Health::Assigned { partitions: 2, waiting: 1, database, cuts: None, faulted: Vec::new() });
        assert!(!ready && text.contains("database: connection refused"), "{text}");
    }

    #[test]
    fn an_outbox_that_nothing_leaves_is_red_and_named() {
        let with = |relay| {
            let (health, relay) = (assigned(vec![]), Some(relay));
            judge(Phase::Running, &[Now { name: "accounting", health, relay }])
        };
        for well in
            [RelayStatus::Opening, RelayStatus::Relaying, RelayStatus::Standby { by: "host-2/7".to_owned() }]
        {
            let (ready, text) = with(well);
            assert!(ready && !text.contains("outbox"), "{text}");
        }
        let reason = "Kafka has batch 7 of this outbox".to_owned();
        for ill in [RelayStatus::Failing { reason: reason.clone() }, RelayStatus::Stopped { reason }] {
            let (ready, text) = with(ill);
            assert!(!ready && text.contains("accounting's outbox: ") && text.contains("batch 7"), "{text}");
        }
        let (ready, text) = with(RelayStatus::WithoutMail);
        assert!(!ready && text.contains("accounting's outbox: ") && text.contains("no [mail]"), "{text}");
    }

    #[test]
    fn a_consumer_that_gave_up_ends_liveness() {
        let failed = Health::Failed { reason: "fenced".to_owned() };
        let told = ailment("accounting", &failed, None).unwrap();
        assert!(told.contains("accounting") && told.contains("fenced"), "{told}");
        assert!(!judged(failed).0);
        assert_eq!(ailment("accounting", &assigned(stopped("records lost")), Some(Duration::ZERO)), None);
    }

    #[test]
    fn a_polling_thread_that_hangs_ends_liveness_and_is_named() {
        let ails = |turn_age| ailment("accounting", &assigned(vec![]), turn_age);
        let told = ails(Some(TURN_LIMIT + Duration::from_secs(1))).unwrap();
        assert!(told.contains("accounting") && told.contains("hangs") && told.contains("301 s"), "{told}");
        // The longest that a revocation may take.
        for age in [Duration::ZERO, Duration::from_secs(60), TURN_LIMIT] {
            assert_eq!(ails(Some(age)), None, "{age:?}");
        }
        assert_eq!(ails(None), None, "it has ended, and its health says why");
    }

    #[test]
    fn a_standby_without_partitions_is_well() {
        let idle = |joined| Health::Unassigned { since: Instant::now(), joined, reason: None };
        assert!(judged(idle(true)).0);
        assert!(!judged(idle(false)).0, "its group has not answered yet");
    }
}
