//! The metrics of one handler's dead letters. How many were acknowledged the engine counts.

use keylane_engine::Counted;
use metrics::{Counter, Gauge, counter, gauge};

/// Letters handed over and not acknowledged yet. What bounds them is the slots and lanes that wait for them.
const WAITING: &str = "keylane_dead_letters_waiting";
/// Letters that a broker refused or did not acknowledge in time; each is tried again.
const REFUSED: &str = "keylane_dead_letters_refused_total";

#[derive(Clone)]
pub(super) struct Meters {
    waiting: Gauge,
    pub(super) refused: Counter,
}

impl Meters {
    pub(super) fn new(handler: &str) -> Self {
        let labels = [("handler", handler.to_owned())];
        Self { waiting: gauge!(WAITING, &labels), refused: counter!(REFUSED, &labels) }
    }

    /// One letter more, until what is answered is dropped, be the burial done or broken off.
    pub(super) fn waits(&self) -> Counted {
        Counted::new(&self.waiting)
    }
}
