//! A gauge of those who wait or are at work: whoever is counted leaves it again, however it ends.

/// One that is counted as long as it lives.
pub(crate) struct Counted(metrics::Gauge);

impl Counted {
    pub(crate) fn new(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
