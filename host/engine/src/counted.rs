//! A gauge of those who wait or are at work: whoever is counted leaves it again, however it ends.

use metrics::Gauge;

/// One that is counted as long as it lives.
#[must_use = "it is counted only as long as it is held"]
pub struct Counted(Gauge);

impl Counted {
    /// One more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
