//! Whose relay it is, how patient it is, and what it says of itself.

use std::sync::Arc;
use std::time::Duration;

use keylane_engine::BootClock;

/// How long a lease is good without being renewed, unless the configuration says otherwise.
const LEASE: Duration = Duration::from_secs(10);
/// Time between two looks into an outbox that was empty, for rows that another process has written.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a stop may take, beside what a mail may take.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Whose relay this is.
#[derive(Clone)]
pub struct RelayConfig {
    /// The fleet.
    pub fleet: String,
    /// This host's name, for people.
    pub host: String,
    /// The database's name in the host's configuration, for logs and metrics.
    pub name: String,
    /// How long the lease is good without being renewed: so long the outbox waits when the host that
    /// relays dies. What keeps two of them apart are epochs, not this.
    pub lease: Duration,
    /// How long rows of other hosts may lie in an empty outbox before they are looked for; for mails four times
    /// as long. Rows of this process are sent at once.
    pub look: Duration,
    /// How long a stop may take, beside what the mails under way may take: a mail that is given up after the
    /// server took it is sent again. For the first third of it what lies in the outbox is still sent; then
    /// what is under way is waited for.
    pub stop: Duration,
    /// What the lease is counted by.
    pub clock: Arc<dyn BootClock>,
}

impl RelayConfig {
    /// All else by default.
    #[must_use]
    pub fn new(
        fleet: impl Into<String>,
        host: impl Into<String>,
        name: impl Into<String>,
        clock: Arc<dyn BootClock>,
    ) -> Self {
        let (fleet, host, name) = (fleet.into(), host.into(), name.into());
        Self { fleet, host, name, lease: LEASE, look: LOOK_EVERY, stop: STOP_LIMIT, clock }
    }
}

/// What a relay does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayStatus {
    /// It has the lease and opens the way to Kafka.
    Opening,
    /// It relays.
    Relaying,
    /// It relays records, but mails wait, and this host was not told how mail leaves.
    WithoutMail,
    /// Another host does.
    Standby {
        /// That host.
        by: String,
    },
    /// Something does not answer; it tries again.
    Failing {
        /// What.
        reason: String,
    },
    /// It does nothing until an operator decides.
    Stopped {
        /// Why, and what can be done.
        reason: String,
    },
}
