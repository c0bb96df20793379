//! Starting and stopping the broker, its listener and its ticker.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::connection;
use crate::error::BrokerError;
use crate::options::BrokerOptions;
use crate::state::{Shared, State};

/// How often sessions, rebalances and transactions are looked at, and the metrics are set.
const TICK: Duration = Duration::from_millis(50);
/// A pause after the system refused a connection (no more descriptors, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A running broker. It listens until [`stop`](Broker::stop); dropped, it ends without waiting.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    /// Told `true` once, when the broker is to stop.
    stop: watch::Sender<bool>,
    /// Owns the listener, the ticker and every connection's task.
    listener: JoinHandle<()>,
}

impl Broker {
    /// Binds 127.0.0.1, reads what an earlier run left in the data folder and starts to answer.
    ///
    /// # Errors
    /// The port is taken, the data folder cannot be used or is in use, or a file in it is damaged.
    pub async fn start(options: BrokerOptions) -> Result<Self, BrokerError> {
        let wanted = options.port;
        let bind_failed = |source| BrokerError::Bind { port: wanted, source };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, wanted));
        let listener = TcpListener::bind(address).await.map_err(bind_failed)?;
        let port = listener.local_addr().map_err(bind_failed)?.port();
        let state = State::open(&options)?;
        let kept_in = options.data.as_ref().map_or_else(|| "memory".to_owned(), |p| p.display().to_string());
        tracing::warn!(
            bootstrap = %format_args!("127.0.0.1:{port}"),
            data = kept_in,
            "this is the embedded broker for development; it is not Apache Kafka"
        );
        let (stop, stopping) = watch::channel(false);
        let shared = Arc::new(Shared::new(options, port, state));
        let listener = tokio::spawn(listen(shared, listener, stopping));
        Ok(Self { port, stop, listener })
    }

    /// The address for clients, `127.0.0.1:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Closes every connection and waits until the port and the data folder are free again.
    pub async fn stop(mut self) {
        let _already_ended = self.stop.send(true);
        if let Err(error) = (&mut self.listener).await {
            tracing::error!(%error, "the development broker did not end well");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Accepts connections until told to stop. It owns their tasks: when it ends, they are aborted.
/// A task waits nowhere with the state locked, so aborting leaves the state whole.
async fn listen(shared: Arc<Shared>, listener: TcpListener, mut stopping: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut ticker = tokio::time::interval(TICK);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopping.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&shared, &mut connections, stream),
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => if let Err(error) = ended {
                tracing::error!(%error, "a connection ended by a fault of the broker; this is a bug");
            },
            _ = ticker.tick() => tick(&shared, connections.len()),
        }
    }
    connections.shutdown().await;
}

fn admit(shared: &Arc<Shared>, connections: &mut JoinSet<()>, stream: TcpStream) {
    let limit = shared.options.limits.connections;
    if connections.len() >= limit {
        tracing::error!(limit, "the development broker refuses one more connection");
        return; // dropped, and so closed
    }
    connections.spawn(connection::serve(Arc::clone(shared), stream));
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; its last digits do not matter")]
fn tick(shared: &Shared, connections: usize) {
    let mut state = shared.lock();
    state.groups.expire(Instant::now());
    if state.expire_transactions() {
        shared.data_arrived.notify_waiters();
    }
    metrics::gauge!("keylane_devbroker_connections").set(connections as f64);
    metrics::gauge!("keylane_devbroker_log_bytes").set(state.bytes as f64);
    metrics::gauge!("keylane_devbroker_topics").set(state.topics.len() as f64);
    metrics::gauge!("keylane_devbroker_open_transactions").set(state.transactions.open() as f64);
    metrics::gauge!("keylane_devbroker_groups").set(state.groups.len() as f64);
}
