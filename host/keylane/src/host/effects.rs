//! What stands beside a handler that writes to a database: its progress, which is kept there, and the relay
//! that empties its outbox.

use std::sync::Arc;

use keylane_effects::{ClaimsConfig, Database, HandlerClaims, MailSender, Relay, RelayConfig, RelaySenders};
use keylane_engine::{Claims, ClaimsError, DeadLetter};
use keylane_kafka::{BootTime, DeadLetterOptions, letter_record};
use tokio::runtime::Handle;

/// The progress of a handler in its database. Asks at once whether the database belongs to the cluster, so
/// that another one's is refused before anything starts; one that does not answer now is asked later.
///
/// # Errors
/// When the database serves another cluster.
pub(super) async fn claims(
    fleet: &str,
    handler: &str,
    cluster: String,
    database: Arc<dyn Database>,
    letters: DeadLetterOptions,
) -> anyhow::Result<Arc<dyn Claims>> {
    let form = Arc::new(move |letter: &DeadLetter| letter_record(letter, &letters));
    let claims = HandlerClaims::new(database, ClaimsConfig::new(fleet, handler, cluster), form);
    match claims.check_cluster().await {
        Err(error @ ClaimsError::Unavailable(_)) => {
            tracing::warn!(handler, %error, "the handler's database does not answer; its partitions wait");
        }
        answer => answer?,
    }
    Ok(Arc::new(claims))
}

/// Empties the outbox of a handler's database, in turns with the other hosts of the fleet.
pub(super) fn relay(
    fleet: &str,
    handler: &str,
    database: Arc<dyn Database>,
    senders: Arc<dyn RelaySenders>,
    mail: Option<Arc<dyn MailSender>>,
) -> Relay {
    let config = RelayConfig::new(fleet, host_name(), handler, Arc::new(BootTime));
    Relay::start(&Handle::current(), database.outbox(), senders, mail, config)
}

/// What this host is called, for people: the machine's name and the process.
fn host_name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = match machine.trim() {
        "" => "host",
        machine => machine,
    };
    format!("{machine}/{}", std::process::id())
}
