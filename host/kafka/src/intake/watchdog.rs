//! Watches the polling thread itself: should it hang, nothing of its own would say so.
//!
//! Who owns: a small thread that lives as long as the intake's shared state. Who waits: it, [`LOOK_EVERY`].
//! What bounds: one gauge, one line in [`SAY_EVERY`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Shared;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A turn that takes longer, beyond what draining may take, is said.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Time between two lines on the same stall.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Starts watching. Ends by itself when the thread and its handle are gone.
pub(super) fn watch(shared: &Arc<Shared>, group: String, drain_limit: Duration) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    let body = move || look_on(&shared, &group, STALLED_AFTER + drain_limit);
    std::thread::Builder::new().name("kafka-watchdog".to_owned()).spawn(body).map(drop)
}

fn look_on(shared: &Weak<Shared>, group: &str, limit: Duration) {
    let gauge = metrics::gauge!("keylane_kafka_poll_age_seconds", "group" => group.to_owned());
    let mut said: Option<Instant> = None;
    while let Some(age) = shared.upgrade().and_then(|shared| shared.turn_age()) {
        gauge.set(age.as_secs_f64());
        if age > limit && said.is_none_or(|at| at.elapsed() > SAY_EVERY) {
            said = Some(Instant::now());
            tracing::error!(
                group,
                age_s = age.as_secs(),
                "the polling thread hangs; its partitions stand still, and the group will give them to others"
            );
        }
        std::thread::sleep(LOOK_EVERY);
    }
    gauge.set(0.0);
}
