//! One seed from its plan to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checks::{CHECKS, overlaps, unreported};
use crate::mutation::Mutation;
use crate::plan::Plan;
use crate::story::{Breach, Story};
use crate::trace::Trace;
use crate::world::World;

/// Entries of the trace that are shown before the one that breaks a promise.
const TAIL: usize = 60;

/// What became of one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was reached how often: kinds of faults, and states worth reaching.
    pub seen: BTreeMap<&'static str, u64>,
    /// The whole trace, a line for each entry.
    pub trace: Vec<String>,
    /// The checkers that found something, each with what, and the end of the trace that led to it.
    pub breaches: Vec<(&'static str, String)>,
}

impl Report {
    /// Whether this checker found something.
    #[must_use]
    pub fn is_caught_by(&self, checker: &str) -> bool {
        self.breaches.iter().any(|(name, _)| *name == checker)
    }
}

/// Lives through a seed and lets every checker look at it.
#[must_use]
pub fn live(seed: u64, mutation: Option<Mutation>) -> Report {
    let plan = Arc::new(Plan::of(seed));
    let trace = Trace::default();
    let mut world = World::new(plan.clone(), mutation, trace.clone());
    let ending = world.run();
    let (entries, mut seen) = trace.finish();
    let (written, remaining) = world.topic().with(|logs| {
        let remaining: Vec<BTreeMap<_, _>> =
            logs.iter().map(|log| log.records.iter().map(|one| (one.offset, *one)).collect()).collect();
        let mut written = remaining.clone();
        for (all, log) in written.iter_mut().zip(logs.iter()) {
            all.extend(log.vanished.iter().map(|(offset, record)| (*offset, *record)));
        }
        (written, remaining)
    });
    let (databases, seen_rows) = (world.databases(), world.seen());
    let story = Story { plan, entries, written, remaining, ending, databases, seen: seen_rows };
    let unreported = unreported(&story);
    for (what, times) in [
        ("overlap with a zombie", overlaps(&story)),
        ("crash: unreported", unreported.crashed),
        ("zombie: unreported", unreported.stopped),
    ] {
        if times > 0 {
            seen.insert(what, times);
        }
    }
    let breaches = CHECKS
        .iter()
        .filter_map(|(name, check)| check(&story).err().map(|breach| (*name, told(&story, name, &breach))))
        .collect();
    let trace = story.entries.iter().map(ToString::to_string).collect();
    Report { seed, seen, trace, breaches }
}

fn told(story: &Story, name: &str, breach: &Breach) -> String {
    let end = breach.at.map_or(story.entries.len(), |at| at + 1);
    let tail = &story.entries[end.saturating_sub(TAIL)..end];
    let lines: Vec<String> = tail.iter().map(ToString::to_string).collect();
    let seed = story.plan.seed;
    format!("seed {seed} breaks {name:?}: {}\n{}\n", breach.what, lines.join("\n"))
}
