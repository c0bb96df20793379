//! The plan of a handler's write database: what kind it is, and what befalls it.

use crate::draw::Draw;
use crate::plan::GroupPlan;

/// A fault that befalls a database, or what the group has committed beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseFault {
    /// The server is away for a while; whatever is open on it is undone.
    Down,
    /// A copy of it is made.
    Backup,
    /// The last copy takes its place. Whoever holds a connection loses it.
    Restore,
    /// A tool puts the group's offset of a partition back.
    OffsetRewound,
    /// A tool puts it ahead.
    OffsetAhead,
    /// The group's offsets expire.
    OffsetsDeleted,
}

/// All of them, with the shortest and the longest mean time between two, in milliseconds.
const TIMED: &[(DatabaseFault, u64, u64)] = &[
    (DatabaseFault::Down, 1_500, 8_000),
    (DatabaseFault::Backup, 500, 4_000),
    (DatabaseFault::Restore, 2_000, 8_000),
    (DatabaseFault::OffsetRewound, 500, 4_000),
    (DatabaseFault::OffsetAhead, 500, 4_000),
    (DatabaseFault::OffsetsDeleted, 1_000, 6_000),
];

/// One handler's write database.
#[derive(Debug, Clone)]
pub struct DatabasePlan {
    /// One transaction at a time for the whole database, and nobody can end another's session: SQLite.
    pub single_writer: bool,
    pub latency_ms: (u64, u64),
    /// How long a transaction may do nothing before the server ends it.
    pub idle_ms: u64,
    /// How long a take waits before it ends who is in its way, and others wait for the writer.
    pub wait_ms: u64,
    /// The longest that a host waits for an answer.
    pub ask_ms: u64,
    /// The longest that a run waits for a connection.
    pub pool_ms: u64,
    /// Of requests, in permille: a conflict with another open transaction, a connection that breaks, a
    /// commit whose answer is lost, one that takes long.
    pub conflict: u64,
    pub connection_lost: u64,
    pub in_doubt: u64,
    pub delayed: u64,
    /// The most outputs of an event.
    pub outputs_max: u64,
    /// Each kind of timed fault with the mean time between two.
    pub timed: Vec<(DatabaseFault, u64)>,
}

impl DatabasePlan {
    /// Which of a seed's handlers have a database. Drawn apart from the rest, which so stays what it is.
    pub fn of_handlers(seed: u64, handlers: u8, is_sieve: bool, group: &GroupPlan) -> Vec<Option<Self>> {
        let mut draw = Draw::of(&[seed, 9]);
        let share = if is_sieve { 0 } else { draw.pick(&[0, 500, 1_000]).unwrap() };
        (0..handlers).map(|_| draw.permille(share).then(|| Self::draw(&mut draw, group))).collect()
    }

    fn draw(draw: &mut Draw, group: &GroupPlan) -> Self {
        let single_writer = draw.permille(300);
        let share = draw.pick(&[100, 300, 600]).unwrap();
        let mut timed = Vec::new();
        for (fault, shortest_ms, longest_ms) in TIMED {
            let mean_ms = draw.between(*shortest_ms, *longest_ms);
            if draw.permille(share) {
                timed.push((*fault, mean_ms));
            }
        }
        let mut rate = |highest: u64| if draw.permille(share) { draw.between(1, highest) } else { 0 };
        let (conflict, connection_lost, in_doubt, delayed) = (rate(200), rate(30), rate(200), rate(40));
        Self {
            single_writer,
            latency_ms: (1, draw.between(1, 6)),
            idle_ms: group.session_ms * 2 / 3,
            wait_ms: group.session_ms / 3,
            ask_ms: group.session_ms,
            pool_ms: draw.pick(&[0, 10, 50]).unwrap(),
            conflict,
            connection_lost,
            in_doubt,
            delayed,
            outputs_max: draw.below(3),
            timed,
        }
    }
}
