//! The promises over five hundred seeds, and that these seeds reach what they are for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use keylane_sim::{live, sweep};

/// Seeds that every run of the tests lives through.
const SEEDS: u64 = 500;

/// Kinds of faults and states that the seeds must reach, all of them.
const REACHED: &[&str] = &[
    // What befalls the world.
    "rebalance",
    "crash",
    "short stop",
    "zombie",
    "sleep",
    "host joins",
    "host leaves",
    "coordinator away",
    "host cut off",
    "compaction",
    "foreign metadata",
    "commit refused",
    "commit answer lost",
    "commit dropped",
    "commit delayed",
    "commit astray",
    "commit went back",
    "commit of a stranger refused",
    "member evicted",
    "dead letter refused",
    // What components do.
    "failure: retry",
    "failure: reject",
    "failure: trap",
    "failure: timeout",
    "failure: memory",
    "failure: effects",
    "failure: undeliverable",
    "hang",
    // Where that leads.
    "dead letter acknowledged",
    "run gave events back",
    "event broken off",
    "drain limit passed",
    "revoke amid a retry",
    "lease out",
    "inbox full",
    "lane parked",
    "lane paused",
    "lane burying",
    "partition halted",
    "halted by a flood",
    "halted by an event",
    "operator resumed",
    "operator skipped",
    "operator refused",
    "payload high",
    "payload cut",
    "restored: ours",
    "restored: a gap",
    "restored: empty",
    "restored: unreadable",
    "overlap with a zombie",
    // What befalls write databases and those beside them.
    "database down",
    "database restored",
    "offset rewound",
    "offset put ahead",
    "offsets deleted",
    "crash: amid a transaction",
    "crash: commit under way",
    "crash: unreported",
    "zombie: amid a transaction",
    "zombie: commit under way",
    "zombie: commit unanswered",
    "zombie: unreported",
    "database: commit in doubt, done",
    "database: commit in doubt, undone",
    "database: conflict",
    "database: idle transaction ended",
    "database: zombie begins",
    "database: zombie begins after pruning",
    "database: passed epoch refused",
    "database: taken in another life of the server",
    "database: take waits for a run",
    "database: taker ends a transaction",
    "database: waited too long",
    // Where that leads.
    "held: a floor",
    "held: claims",
    "overtaken",
    "taken too late",
    "take: database away",
    "take: in doubt",
    "database: pruned",
    "database: pruned in part",
    "dead letter claimed",
    "skip claimed",
    "run redone with savepoints",
    "run redone after a conflict",
    "run given back undone",
    // What befalls cuts, and where that leads.
    "cut: committed",
    "cut: several partitions",
    "cut: left for the next",
    "cut: dead letter",
    "cut: failed",
    "cut: in doubt",
    "cut: refused",
    "cut: refused once more",
    "cut: a topic is gone",
    "cut: a topic is at fault",
    "cut: a topic is silent",
    "cut: kept from a topic",
    "cut: behind a commit astray",
    "cut: made up for a commit astray",
    "cut: given up meanwhile",
    "cut: the last one is late",
    "cut: a small last one",
    "cut: payload cut",
    "cut of a stranger refused",
    "producer fenced",
    "transaction aborted",
    "transaction timed out",
    "commit of a cut unheard",
    "commit of a cut lost",
    "offsets not stable",
    "set back",
];

#[test]
fn promises_hold_over_five_hundred_seeds() {
    std::panic::set_hook(Box::new(|_| {}));
    let summary = sweep(0..SEEDS, None, |_| false);
    let _hook = std::panic::take_hook();
    assert_eq!(summary.seeds, SEEDS);
    if let Some((seed, report)) = summary.broken.first_key_value() {
        let told: Vec<&str> = report.breaches.iter().map(|(_, told)| told.as_str()).collect();
        panic!(
            "{} seeds break a promise; replay with `make sim SEED={seed}`\n{}",
            summary.broken.len(),
            told.join("\n")
        );
    }
    let missing: Vec<&&str> = REACHED.iter().filter(|what| !summary.seen.contains_key(**what)).collect();
    assert!(missing.is_empty(), "no seed reaches {missing:?}");
}

#[test]
fn one_seed_twice_is_one_trace() {
    for seed in [3, 17, 42] {
        let (once, again) = (live(seed, None), live(seed, None));
        let differs = once.trace.iter().zip(&again.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(once, again, "seed {seed}");
        assert!(once.trace.len() > 100, "seed {seed} has only {} entries", once.trace.len());
    }
}

#[test]
fn seeds_differ() {
    assert_ne!(live(1, None).trace, live(2, None).trace);
}
