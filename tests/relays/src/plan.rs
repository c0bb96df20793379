//! What one seed is about: how many hosts and writers there are, what befalls them and when.

use keylane_sim::Draw;

/// Something that befalls the world at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A host dies, and comes back after so long.
    Kill { host: usize, back_after_ms: u64 },
    /// A host is stopped and goes on after so long.
    Stop { host: usize, for_ms: u64 },
    /// A host is stopped at one of its next requests, amid whatever that is part of.
    StopAt { host: usize, requests: u64, for_ms: u64 },
    /// A host is asked to end, and comes back after so long.
    Leave { host: usize, back_after_ms: u64 },
    /// The database does not answer for so long.
    DatabaseAway { for_ms: u64 },
    /// Some of the database's answers get lost for so long.
    DatabaseShaky { for_ms: u64 },
    /// Kafka does not answer for so long.
    KafkaAway { for_ms: u64 },
    /// Some of Kafka's answers get lost for so long.
    KafkaShaky { for_ms: u64 },
    /// The database takes long for so long.
    DatabaseSlow { for_ms: u64 },
    /// Kafka does.
    KafkaSlow { for_ms: u64 },
    /// An operator resets the outbox, whatever it does.
    Reset,
    /// A topic is not there for so long.
    TopicMissing { topic: usize, for_ms: u64 },
    /// The mail server takes nothing for so long.
    MailAway { for_ms: u64 },
    /// The database is set back to what it was so long ago.
    Restore { from_ms_ago: u64 },
}

/// Topics of all rows.
pub const TOPICS: [&str; 3] = ["payouts", "invoices", "audit"];

/// The longest turn of a host, in milliseconds.
pub const STEP_MS_MAX: u64 = 30;

/// One seed's draw.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub hosts: usize,
    pub writers: usize,
    /// How long rows are written and faults come.
    pub length_ms: u64,
    pub lease_ms: u64,
    /// What is given to each host before the next has its turn.
    pub step_ms: u64,
    /// The longest that a transaction of a writer is open, and the longest pause behind it.
    pub open_ms: u64,
    pub pause_ms: u64,
    /// How many rows of a thousand are for a key that all writers share; how many are mails; how many are such as
    /// Kafka refuses.
    pub shared_permille: u64,
    pub mail_permille: u64,
    pub poison_permille: u64,
    /// Whether Kafka takes those in the end.
    pub is_mended: bool,
    /// How many lives of hosts of a thousand are stopped at one of their first requests, amid a takeover.
    pub stopped_early_permille: u64,
    /// By their moments.
    pub faults: Vec<(u64, Fault)>,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut draw = Draw::of(&[seed, 1]);
        let hosts = draw.between(1, 3) as usize;
        let length_ms = draw.between(10_000, 60_000);
        let count = draw.between(0, 12);
        // Each seed has a mix of its own: some kinds come often, others never.
        let weights: Vec<u64> = (0..KINDS).map(|_| draw.below(4)).collect();
        let mut faults: Vec<(u64, Fault)> = (0..count)
            .filter_map(|_| {
                let at = draw.below(length_ms);
                fault(&mut draw, &weights, hosts).map(|fault| (at, fault))
            })
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            hosts,
            writers: draw.between(1, 5) as usize,
            length_ms,
            lease_ms: draw.between(1_000, 10_000),
            step_ms: draw.between(1, STEP_MS_MAX),
            open_ms: draw.between(1, 400),
            pause_ms: draw.between(1, 600),
            shared_permille: draw.below(500),
            mail_permille: draw.below(300),
            poison_permille: if draw.permille(300) { draw.between(1, 20) } else { 0 },
            is_mended: seed.is_multiple_of(2),
            stopped_early_permille: if draw.permille(500) { draw.below(800) } else { 0 },
            faults,
        }
    }
}

/// Kinds of faults.
const KINDS: usize = 14;

fn fault(draw: &mut Draw, weights: &[u64], hosts: usize) -> Option<Fault> {
    let sum: u64 = weights.iter().sum();
    let mut left = draw.below(sum.max(1));
    let kind = weights.iter().position(|weight| {
        let is_it = left < *weight;
        left = left.saturating_sub(*weight);
        is_it
    })?;
    let host = draw.below(hosts as u64) as usize;
    let (short_ms, long_ms) = (draw.between(1, 2_000), draw.between(100, 25_000));
    let for_ms = if draw.permille(500) { short_ms } else { long_ms };
    Some(match kind {
        0 => Fault::Kill { host, back_after_ms: for_ms },
        1 => Fault::Stop { host, for_ms },
        2 => Fault::Leave { host, back_after_ms: for_ms },
        3 => Fault::DatabaseAway { for_ms },
        4 => Fault::DatabaseShaky { for_ms },
        5 => Fault::KafkaAway { for_ms },
        6 => Fault::KafkaShaky { for_ms },
        7 => Fault::TopicMissing { topic: draw.below(TOPICS.len() as u64) as usize, for_ms },
        8 => Fault::MailAway { for_ms },
        9 => Fault::StopAt { host, requests: draw.below(12), for_ms },
        10 => Fault::DatabaseSlow { for_ms },
        11 => Fault::KafkaSlow { for_ms },
        12 => Fault::Reset,
        _ => Fault::Restore { from_ms_ago: for_ms },
    })
}
