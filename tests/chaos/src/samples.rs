//! Asks again and again what the group has committed, so that a commit that was too early is seen even if
//! its events were done later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::clock::now_ms;
use crate::fleet::INPUT;
use crate::onlooker::Onlooker;

/// Time between two questions.
const PAUSE: Duration = Duration::from_millis(300);

/// A committed offset that was not there at the question before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// The partition of the input.
    pub partition: i32,
    /// What was committed.
    pub committed: i64,
    /// When the answer had come, in milliseconds since the epoch: it was committed before.
    pub at_ms: u64,
}

/// The thread that asks. Dropping it ends the thread.
pub struct Sampler {
    ends: Arc<AtomicBool>,
    partitions: Arc<AtomicI32>,
    thread: Option<JoinHandle<Vec<Sample>>>,
}

impl Sampler {
    /// Begins to ask for so many partitions.
    ///
    /// # Errors
    /// When its client cannot be made.
    pub fn start(bootstrap: &str, partitions: i32) -> Result<Self> {
        let onlooker = Onlooker::new(bootstrap)?;
        let (ends, partitions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI32::new(partitions)));
        let (asked_to_end, asked_for) = (ends.clone(), partitions.clone());
        let thread = std::thread::spawn(move || {
            let mut samples = Samples::default();
            while !asked_to_end.load(Ordering::Relaxed) {
                // While a coordinator is away there is no answer: the next one counts.
                if let Ok(committed) = onlooker.committed(INPUT, asked_for.load(Ordering::Relaxed)) {
                    samples.add(&committed, now_ms());
                }
                std::thread::sleep(PAUSE);
            }
            samples.all
        });
        Ok(Self { ends, partitions, thread: Some(thread) })
    }

    /// From now on there are so many partitions.
    pub fn has_partitions(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Ends it and answers what it saw, in order.
    ///
    /// # Errors
    /// When it panicked.
    pub fn finish(mut self) -> Result<Vec<Sample>> {
        self.ends.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(samples)) => Ok(samples),
            _ => bail!("the thread that asks for committed offsets panicked"),
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it saw is of no use any more.
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Samples {
    last: BTreeMap<i32, i64>,
    all: Vec<Sample>,
}

impl Samples {
    fn add(&mut self, committed: &BTreeMap<i32, i64>, at_ms: u64) {
        for (partition, committed) in committed {
            if self.last.insert(*partition, *committed) != Some(*committed) {
                self.all.push(Sample { partition: *partition, committed: *committed, at_ms });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_kept() {
        let mut samples = Samples::default();
        samples.add(&BTreeMap::from([(0, 5), (1, 7)]), 10);
        samples.add(&BTreeMap::from([(0, 5), (1, 6)]), 20);
        let kept: Vec<_> = samples.all.iter().map(|sample| (sample.partition, sample.committed)).collect();
        assert_eq!(kept, [(0, 5), (1, 7), (1, 6)]);
    }
}
