//! Many seeds on all cores, with what they reached together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::mistake::Mistake;
use crate::world::{Report, live};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were lived through.
    pub seeds: u64,
    /// What they reached, how often in all.
    pub seen: BTreeMap<&'static str, u64>,
    /// Those that break a promise, by seed.
    pub broken: BTreeMap<u64, Report>,
}

/// Lives through seeds on all cores, until one is broken by what `until` says is enough.
#[must_use]
pub fn sweep(seeds: Range<u64>, mistake: Option<Mistake>, until: impl Fn(&Report) -> bool + Sync) -> Summary {
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let report = live(seed, mistake);
                    enough.fetch_or(until(&report), Ordering::Relaxed);
                    summary.lock().unwrap().add(report);
                }
            });
        }
    });
    summary.into_inner().unwrap()
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        for (what, times) in &report.seen {
            *self.seen.entry(what).or_default() += times;
        }
        if !report.breaches.is_empty() {
            self.broken.insert(report.seed, report);
        }
    }
}
