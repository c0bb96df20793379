//! The checker: judges what a round left behind, and nothing else. Each rule names what breaks it.
//!
//! What a handler told is at least once: a repeat is right where a fault explains it, and wrong elsewhere.
//! What was not repeated has no excuse: every event ends, and the first endings of a key are in order.
//!
//! Where effects must happen once, a repeat has no excuse either, and rows, sums and mails must tell the same.

mod case;
mod commits;
mod endings;
mod excuses;
mod input;
mod letters;
mod losses;
mod once;
mod order;
mod repeats;

use serde::Serialize;

use crate::evidence::Evidence;
use case::Case;
use excuses::Excuses;

/// So many of the rules of what happens once look at Kafka alone.
const OF_KAFKA_ALONE: usize = 3;
/// How many findings of one rule are written out.
const SHOWN: usize = 20;

/// What was counted. Sums of rounds are sums of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Events of the input.
    pub events: usize,
    /// Events that the producer's client wrote twice, because a broker was killed.
    pub written_again: usize,
    /// Events whose handler was done.
    pub done: usize,
    /// Events in the dead letters.
    pub dead: usize,
    /// Endings of an event that had one, because the first one's host was killed.
    pub repeats_killed: usize,
    /// The same, because a host stood still.
    pub repeats_stopped: usize,
    /// The same, because the first one's host lost the partition in the wake of a fault.
    pub repeats_lost: usize,
    /// The same, because a broker was killed.
    pub repeats_broker: usize,
    /// Partitions that hosts say they lost.
    pub losses: usize,
    /// Events of one key at once in two hosts, around a host that stood still or a broker that was killed.
    pub overlaps: usize,
    /// Attempts of events that do not fail by themselves.
    pub innocent: usize,
    /// Commits that were looked at while the round ran.
    pub commits: usize,
    /// Commits that went back, around a fault.
    pub commits_back: usize,
    /// Rows of the ledger.
    pub rows: usize,
    /// Mails, each Message-ID once.
    pub mails: usize,
    /// Mails that came again with the Message-ID that they had.
    pub mails_again: usize,
    /// Events without their ending, their row or their mail.
    pub lost: usize,
    /// What there is once too often of an event.
    pub twice: usize,
    /// Rows, records and dead letters of a key that are out of order.
    pub out_of_order: usize,
    /// Hosts that stood still in the middle of a transaction.
    pub stopped_inside: usize,
    /// Hosts that went on with what others had taken and pruned while they stood still.
    pub past_pruning: usize,
    /// Deaths of the database's server that left open whether a commit was done.
    pub amid_commits: usize,
    /// The longest time from a record's writing to its first ending, in milliseconds.
    pub longest_ms: u64,
}

impl Tally {
    /// All repeats.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.repeats_killed + self.repeats_stopped + self.repeats_lost + self.repeats_broker
    }
}

/// What the checker found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong; nothing if all is right.
    pub findings: Vec<String>,
    /// What was counted.
    pub tally: Tally,
}

type Rule = fn(&Case<'_>, &Excuses, &mut Verdict);

/// Judges the evidence.
#[must_use]
pub fn judge(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    let case = Case::of(evidence, &mut verdict);
    let excuses = Excuses::of(evidence);
    let at_least_once: [(&str, Rule); 3] =
        [("order", order::check), ("repeats", repeats::check), ("commits", commits::check)];
    let exactly_once: [(&str, Rule); 6] = [
        ("order", once::order::check),
        ("twice", once::twice::check),
        ("commits", commits::check_ends),
        ("ledger", once::rows::check),
        ("sums", once::sums::check),
        ("mails", once::mails::check),
    ];
    let of_this = match (&evidence.once, evidence.in_cuts) {
        (Some(_), _) => exactly_once.as_slice(),
        (None, true) => exactly_once.get(..OF_KAFKA_ALONE).unwrap_or_default(),
        (None, false) => &at_least_once,
    };
    let always: [(&str, Rule); 4] = [
        ("input", input::check),
        ("endings", endings::check),
        ("dead letters", letters::check),
        ("losses", losses::check),
    ];
    let mut findings = std::mem::take(&mut verdict.findings);
    for (name, rule) in always.iter().chain(of_this) {
        rule(&case, &excuses, &mut verdict);
        let found = std::mem::take(&mut verdict.findings);
        let more = found.len().saturating_sub(SHOWN);
        findings.extend(found.into_iter().take(SHOWN).map(|finding| format!("{name}: {finding}")));
        if more > 0 {
            findings.push(format!("{name}: and {more} more"));
        }
    }
    Verdict { findings, tally: verdict.tally }
}
