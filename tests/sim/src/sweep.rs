//! Many seeds on all cores, with what they reached together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::mutation::Mutation;
use crate::report::{Report, live};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were lived through.
    pub seeds: u64,
    /// What they reached, how often in all.
    pub seen: BTreeMap<&'static str, u64>,
    /// Entries of all their traces.
    pub entries: u64,
    /// Those that break a promise, by seed.
    pub broken: BTreeMap<u64, Report>,
}

/// Lives through seeds on all cores; with `until`, only until it says that a report is enough.
#[must_use]
pub fn sweep(
    seeds: Range<u64>,
    mutation: Option<Mutation>,
    until: impl Fn(&Report) -> bool + Sync,
) -> Summary {
    let summary = Mutex::new(Summary::default());
    on_all_cores(seeds, |seed| {
        let report = live(seed, mutation);
        let is_enough = until(&report);
        summary.lock().unwrap().add(report);
        is_enough
    });
    summary.into_inner().unwrap()
}

/// Does this with each seed, on all cores, until one says that it is enough or none is left.
pub fn on_all_cores(seeds: Range<u64>, live: impl Fn(u64) -> bool + Sync) {
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    enough.fetch_or(live(seed), Ordering::Relaxed);
                }
            });
        }
    });
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.entries += report.trace.len() as u64;
        for (what, times) in &report.seen {
            *self.seen.entry(what).or_default() += times;
        }
        if !report.breaches.is_empty() {
            self.broken.insert(report.seed, report);
        }
    }
}
