//! Watches the polling thread itself: should it hang, nothing of its own would say so.
//!
//! Who owns: a small thread that lives as long as the polling thread does. Who waits: it, between two
//! looks. What bounds: one gauge, one line for each stall in [`SAY_EVERY`].

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Shared;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A turn that takes longer, beyond what draining may take, is said.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// Time between two lines on the same stall.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// The watchdog's times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Between two looks.
    look_every: Duration,
    /// A longer turn is a stall.
    stalled_after: Duration,
    /// Between two lines on the same stall.
    say_every: Duration,
}

impl Times {
    /// For a thread that may drain for so long.
    pub(super) fn of(drain_limit: Duration) -> Self {
        Self { look_every: LOOK_EVERY, stalled_after: STALLED_AFTER + drain_limit, say_every: SAY_EVERY }
    }
}

/// Starts watching. Ends by itself when the thread has ended, or nobody is left to ask.
pub(super) fn watch(shared: &Arc<Shared>, group: String, times: Times) -> std::io::Result<()> {
    let shared = Arc::downgrade(shared);
    let body = move || look_on(&shared, &group, times);
    std::thread::Builder::new().name("kafka-watchdog".to_owned()).spawn(body).map(drop)
}

fn look_on(shared: &Weak<Shared>, group: &str, times: Times) {
    let gauge = metrics::gauge!("keylane_kafka_poll_age_seconds", "group" => group.to_owned());
    let mut said: Option<Instant> = None;
    while let Some(age) = shared.upgrade().and_then(|shared| shared.turn_age()) {
        gauge.set(age.as_secs_f64());
        if age <= times.stalled_after {
            if said.take().is_some() {
                tracing::info!(group, "the polling thread turns again");
            }
        } else if said.is_none_or(|at| at.elapsed() > times.say_every) {
            said = Some(Instant::now());
            tracing::error!(
                group,
                age_s = age.as_secs(),
                "the polling thread hangs; its partitions stand still, and the group will give them to others"
            );
        }
        std::thread::sleep(times.look_every);
    }
    gauge.set(0.0);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::sync::mpsc;

    use keylane_test_support::Log;

    use super::*;
    use crate::meters;

    const LIMIT: Duration = Duration::from_millis(300);
    const TIMES: Times = Times {
        look_every: Duration::from_millis(5),
        stalled_after: LIMIT,
        say_every: Duration::from_secs(3_600),
    };

    /// The longest that anything is waited for.
    const PATIENCE: Duration = Duration::from_secs(40);

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        keylane_test_support::waiting::until(what, PATIENCE, || Ok(is_so().then_some(()))).unwrap();
    }

    #[test]
    fn a_thread_that_hangs_is_told_once_and_told_again_when_it_is_well() {
        meters::install();
        let shared = Arc::new(Shared::new());
        let (watched, (keeping, kept)) = (Arc::downgrade(&shared), mpsc::channel());
        let watchdog = std::thread::spawn(move || {
            let (log, _keeping) = Log::keep(tracing::Level::INFO);
            keeping.send(log).unwrap();
            look_on(&watched, "watched", TIMES);
        });
        let log = kept.recv().unwrap();
        let age_s =
            || meters::gauge("keylane_kafka_poll_age_seconds", &["group=watched"]).unwrap_or_default();
        let (stalls, ends) = (
            || log.lines("the polling thread hangs").len(),
            || log.lines("the polling thread turns again").len(),
        );
        until("the stall in the log", || stalls() == 1);
        until("the stall as a metric", || age_s() > 2.0 * LIMIT.as_secs_f64());
        assert_eq!((stalls(), ends()), (1, 0), "a stall that lasts is not told at each look");
        until("the end of the stall", || {
            shared.turned();
            ends() > 0 && age_s() <= LIMIT.as_secs_f64()
        });
        until("another stall", || stalls() > 1);
        shared.over.store(true, Ordering::Release);
        watchdog.join().unwrap();
        assert!(age_s() <= 0.0, "a thread that has ended does not hang");
    }
}
