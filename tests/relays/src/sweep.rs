//! Many seeds on all cores, with what they reached together.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use keylane_sim::on_all_cores;

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
    let summary = Mutex::new(Summary::default());
    on_all_cores(seeds, |seed| {
        let report = live(seed, mistake);
        let is_enough = until(&report);
        summary.lock().unwrap().add(report);
        is_enough
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
