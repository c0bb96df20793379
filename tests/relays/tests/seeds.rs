//! Each record once and in order over five hundred seeds, and that these seeds reach what they are for.

#![allow(clippy::panic, reason = "a test")]

use keylane_relays::{live, sweep};

/// Seeds that every run of the tests lives through.
const SEEDS: u64 = 500;

/// What the seeds must reach, all of it.
const REACHED: &[&str] = &[
    "answer lost",
    "batch made",
    "batch of a former owner refused",
    "database restored",
    "host killed",
    "host left",
    "host stopped",
    "lease given back",
    "lease taken",
    "mail not begun",
    "numbering begun",
    "outbox reset",
    "outbox reset for no reason",
    "records refused",
    "refused rows dropped",
    "renewal of a former owner refused",
    "sender fenced",
    "set back under a relay",
    "stopped amid a request",
    "transaction ended by the next relay",
];

#[test]
fn promises_hold_over_five_hundred_seeds() {
    let summary = sweep(0..SEEDS, None, |_| false);
    assert_eq!(summary.seeds, SEEDS);
    if let Some((seed, report)) = summary.broken.first_key_value() {
        let broken = summary.broken.len();
        panic!(
            "{broken} seeds break a promise, {seed} first: {:?}\n{}",
            report.breaches,
            report.trace.join("\n")
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
        assert!(once.trace.len() > 20, "seed {seed} has only {} lines", once.trace.len());
    }
}

#[test]
fn seeds_differ() {
    assert_ne!(live(1, None).trace, live(2, None).trace);
}
