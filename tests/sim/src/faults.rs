//! The faults of a seed: which kinds come, and how often.

use crate::draw::Draw;

/// A fault that befalls the world at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The group decides on another assignment.
    Rebalance,
    /// A host's process ends at once, and starts again later.
    Crash,
    /// A host's process is stopped for less than the session.
    ShortStop,
    /// A host's process is stopped past the session, and wakes as a zombie.
    Zombie,
    /// A machine sleeps: only the boot-time clock goes on.
    Sleep,
    HostJoins,
    HostLeaves,
    /// The coordinator answers nobody for a while.
    CoordinatorAway,
    /// Nothing travels between one host and the brokers for a while.
    CutOff,
    /// Records with a newer one of the same key vanish from the log.
    Compaction,
    OperatorResumes,
    OperatorSkips,
    /// Another product of the same group writes its own metadata.
    ForeignMetadata,
}

/// All of them, with the shortest and the longest mean time between two, in milliseconds.
const TIMED: &[(Fault, u64, u64)] = &[
    (Fault::Rebalance, 300, 3_000),
    (Fault::Crash, 1_500, 8_000),
    (Fault::ShortStop, 500, 4_000),
    (Fault::Zombie, 2_000, 8_000),
    (Fault::Sleep, 2_000, 8_000),
    (Fault::HostJoins, 1_000, 5_000),
    (Fault::HostLeaves, 1_500, 6_000),
    (Fault::CoordinatorAway, 2_000, 8_000),
    (Fault::CutOff, 2_000, 8_000),
    (Fault::Compaction, 500, 4_000),
    (Fault::OperatorResumes, 200, 2_000),
    (Fault::OperatorSkips, 300, 3_000),
    (Fault::ForeignMetadata, 300, 3_000),
];

/// What befalls single requests, in permille.
#[derive(Debug, Clone, Copy)]
pub struct RequestFaults {
    /// A commit is refused as a whole.
    pub commit_refused: u64,
    /// A commit is applied and its answer lost.
    pub answer_lost: u64,
    /// A commit never arrives.
    pub commit_dropped: u64,
    /// A commit, and what the host sends after it, takes long.
    pub commit_delayed: u64,
    /// A commit whose connection broke arrives after later ones.
    pub commit_strays: u64,
    /// A dead letter is refused.
    pub letter_refused: u64,
}

/// The faults of one seed.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    /// Each kind with the mean time between two, in milliseconds.
    pub timed: Vec<(Fault, u64)>,
    pub requests: RequestFaults,
}

impl FaultPlan {
    pub fn draw(draw: &mut Draw) -> Self {
        let share = draw.pick(&[100, 300, 600]).unwrap();
        let mut timed = Vec::new();
        for (fault, shortest_ms, longest_ms) in TIMED {
            let mean_ms = draw.between(*shortest_ms, *longest_ms);
            if draw.permille(share) {
                timed.push((*fault, mean_ms));
            }
        }
        let mut rate = |highest: u64| if draw.permille(share) { draw.between(1, highest) } else { 0 };
        let requests = RequestFaults {
            commit_refused: rate(300),
            answer_lost: rate(200),
            commit_dropped: rate(200),
            commit_delayed: rate(100),
            commit_strays: rate(50),
            letter_refused: rate(400),
        };
        Self { timed, requests }
    }
}
