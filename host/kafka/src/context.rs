//! What a client tells on its own: log lines, which go to `tracing`, and errors, which are kept so
//! that health can quote them.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// Listens to one client. Written by the thread that polls the client, read by whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    heard: Mutex<Heard>,
}

#[derive(Debug, Default, Clone)]
struct Heard {
    last_error: Option<String>,
    connection_lost: bool,
}

impl Listener {
    /// The client's own words for its latest error.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.with(|heard| heard.last_error.clone())
    }

    /// Whether a broker connection failed since [`Self::reached`].
    pub(crate) fn connection_lost(&self) -> bool {
        self.with(|heard| heard.connection_lost)
    }

    /// A broker answered: what was heard of lost connections is over.
    pub(crate) fn reached(&self) {
        self.with(|heard| {
            if heard.connection_lost {
                *heard = Heard::default();
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Heard) -> T) -> T {
        look(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn is_connection(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::Authentication
                | Code::SSL
                | Code::OperationTimedOut
        )
    )
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Debug, Emerg, Error, Info, Notice, Warning};
        match level {
            Emerg | Alert | Critical => tracing::error!(target: "librdkafka", facility, "{line}"),
            // A broken connection comes as an error as well, which health reports in its own words.
            Error | Warning if matches!(facility, "FAIL" | "ERROR") => {
                tracing::debug!(target: "librdkafka", facility, "{line}");
            }
            Error | Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
            Notice => tracing::info!(target: "librdkafka", facility, "{line}"),
            Info | Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
    }

    fn error(&self, error: ClientError, reason: &str) {
        let code = error.rdkafka_error_code();
        // The end of a partition is no error; whoever asked to hear of it does so elsewhere.
        if code == Some(Code::PartitionEOF) {
            return;
        }
        let connection = is_connection(code);
        if connection {
            tracing::debug!(%error, reason, "connection to a broker failed");
        } else {
            tracing::warn!(%error, reason, "the Kafka client reports an error");
        }
        self.with(|heard| {
            heard.connection_lost |= connection;
            // "All brokers are down" says less than the failure of the one broker before it.
            if code != Some(Code::AllBrokersDown) || heard.last_error.is_none() {
                heard.last_error = Some(reason.to_owned());
            }
        });
    }

    /// Statistics are not asked for; this spares the client decoding them if they ever are.
    fn stats_raw(&self, _statistics: &[u8]) {}
}

/// Has a context pass on to its `listener` what the client tells on its own.
macro_rules! tells_its_listener {
    ($context:ty) => {
        impl rdkafka::ClientContext for $context {
            fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, line: &str) {
                self.listener.log(level, facility, line);
            }

            fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
                self.listener.error(error, reason);
            }

            fn stats_raw(&self, statistics: &[u8]) {
                self.listener.stats_raw(statistics);
            }
        }
    };
}
pub(crate) use tells_its_listener;

/// A client that only looks needs no more than this.
impl ConsumerContext for Listener {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_own_failure_is_kept_over_the_summary() {
        let listener = Listener::default();
        listener.error(ClientError::Global(Code::BrokerTransportFailure), "b:1: Connection refused");
        listener.error(ClientError::Global(Code::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(listener.last_error().as_deref(), Some("b:1: Connection refused"));
        assert!(listener.connection_lost());
        listener.reached();
        assert!(!listener.connection_lost());
        assert_eq!(listener.last_error(), None);
    }
}
