//! Which time-outs of a handler with a write database fit each other. A host asks at its start: with the
//! wrong order an owner loses its partition in the middle of what it may do, or another one waits for it
//! longer than it has to.

use std::time::Duration;

/// Two times that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{shorter} ({shorter_is:?}) must be shorter than {longer} ({longer_is:?}): {reason}")]
pub struct TimesError {
    /// The one that must be shorter, as it is configured.
    pub shorter: &'static str,
    /// What it is.
    pub shorter_is: Duration,
    /// The one that must be longer.
    pub longer: &'static str,
    /// What it is.
    pub longer_is: Duration,
    /// What would go wrong.
    pub reason: &'static str,
}

/// What a run may leave its session idle < `idle-in-transaction` < the consumer group's session time-out, where the
/// database has a server that ends idle sessions; and, where the host writes to Kafka in transactions, their
/// time-out below the session time-out too.
///
/// # Errors
/// The first two times that do not fit.
pub fn check_times(
    run: Duration,
    idle: Option<Duration>,
    session: Duration,
    transaction: Option<Duration>,
) -> Result<(), TimesError> {
    const RUN: &str = "the time that a run may ask its database nothing";
    const IDLE: &str = "the database's idle-in-transaction";
    const SESSION: &str = "the group's session time-out";
    const TRANSACTION: &str = "Kafka's transaction.timeout.ms";
    let times = [
        idle.map(|idle| (RUN, run, IDLE, idle, "the database would end a run in the middle of an event")),
        idle.map(|idle| {
            let reason = "a stopped host would keep its locks after its partition is lost";
            (IDLE, idle, SESSION, session, reason)
        }),
        transaction.map(|transaction| {
            let reason = "readers would wait for the records of a host that is gone";
            (TRANSACTION, transaction, SESSION, session, reason)
        }),
    ];
    for (shorter, shorter_is, longer, longer_is, reason) in times.into_iter().flatten() {
        if shorter_is >= longer_is {
            return Err(TimesError { shorter, shorter_is, longer, longer_is, reason });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_must_be_shorter_than_the_next() {
        let seconds = Duration::from_secs;
        let idle = Some(seconds(20));
        let check = |run, session, transaction: Option<u64>| {
            check_times(seconds(run), idle, seconds(session), transaction.map(seconds))
        };
        assert_eq!(check(1, 45, Some(30)), Ok(()));
        assert_eq!(check(1, 45, None), Ok(()));
        assert_eq!(check(20, 45, None).unwrap_err().longer, "the database's idle-in-transaction");
        assert_eq!(check(1, 20, None).unwrap_err().longer, "the group's session time-out");
        assert_eq!(check(1, 45, Some(45)).unwrap_err().shorter, "Kafka's transaction.timeout.ms");
        let without_a_server = |session| check_times(seconds(30), None, seconds(session), Some(seconds(10)));
        assert_eq!(without_a_server(11), Ok(()));
        assert_eq!(without_a_server(10).unwrap_err().shorter, "Kafka's transaction.timeout.ms");
        let said = check(30, 45, None).unwrap_err().to_string();
        assert!(said.contains("30s") && said.contains("20s"), "{said}");
    }
}
