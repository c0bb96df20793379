//! The plan of a seed: what its world looks like and which faults come how often. Each seed draws its own.

use keylane_engine::{Floor, InboxLimits, LaneRule, Untyped};
use keylane_lanes::{ClassCaps, Flood, Policy, Then};

use crate::cuts::CutPlan;
use crate::database::DatabasePlan;
use crate::draw::Draw;
use crate::faults::FaultPlan;
use crate::log::{Kind, Record};

/// Everything that a seed decides before its world begins.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    /// Handlers in each host, each with its own group.
    pub handlers: u8,
    /// Hosts at the beginning, and the most there may be.
    pub hosts: u8,
    pub hosts_max: u8,
    pub log: LogPlan,
    /// How long a turn of a host is; what travels between hosts and brokers takes longer.
    pub turn_ms: u64,
    /// For how long faults come.
    pub storm_ms: u64,
    pub group: GroupPlan,
    pub policy: Policy,
    pub lanes: LaneRule,
    pub untyped: Untyped,
    pub slots: usize,
    pub limits: InboxLimits,
    pub host_bytes: usize,
    pub floor: Floor,
    /// The most records in one delivery.
    pub batch: usize,
    pub runner: RunnerPlan,
    pub faults: FaultPlan,
    /// The write databases, by handler.
    pub databases: Vec<Option<DatabasePlan>>,
    /// What handlers in cuts do, by handler.
    pub cuts: Vec<Option<CutPlan>>,
}

/// The topic.
#[derive(Debug, Clone)]
pub struct LogPlan {
    pub partitions: i32,
    pub records: usize,
    /// How many of them are there before anything starts, in permille.
    pub early_permille: u64,
    pub keys: u64,
    /// How uneven keys and partitions are.
    pub skew: u32,
    pub keyless_permille: u64,
    /// Offsets that are never read, and how many at most in a row.
    pub holes_permille: u64,
    pub hole_bits: u32,
    pub unwanted_permille: u64,
    pub untyped_permille: u64,
    /// Records that no attempt can handle.
    pub poison_permille: u64,
}

/// The group and its members.
#[derive(Debug, Clone)]
pub struct GroupPlan {
    pub session_ms: u64,
    pub heartbeat_ms: u64,
    pub commit_every_ms: u64,
    pub drain_ms: u64,
    /// The longest wait for an answer.
    pub request_ms: u64,
    /// A commit counts as a sign of life for the coordinator (the classic protocol).
    pub classic: bool,
    pub latency_ms: (u64, u64),
}

/// The handler's component.
#[derive(Debug, Clone)]
pub struct RunnerPlan {
    pub failing_permille: u64,
    /// Weight of each class of failure, in the order of [`crate::runner::CLASSES`].
    pub class_weights: [u64; 7],
    /// Keys below this number are slow.
    pub slow_keys: u32,
    pub slow_ms: u64,
    pub usual_ms: u64,
    pub hang_permille: u64,
    pub hang_ms: u64,
    /// A run stops at its first failure, the other lanes' events included.
    pub stops_at_failure: bool,
    /// Every second record fails until the world is calm, so that the gap grows wide.
    pub sieve: bool,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut draw = Draw::of(&[seed]);
        let sieve = draw.permille(30);
        let tight = draw.permille(150);
        let handlers = if draw.permille(250) && !sieve { 2 } else { 1 };
        let hosts_max = draw.between(1, 3) as u8;
        let group = group(&mut draw);
        let log = log(&mut draw, sieve);
        let policy = policy(&mut draw, sieve);
        let databases = DatabasePlan::of_handlers(seed, handlers, sieve, &group);
        let beside: Vec<bool> = databases.iter().map(Option::is_some).collect();
        let records = if sieve { 2_000 } else { draw.between(5, if tight { 20 } else { 200 }) as usize };
        Self {
            seed,
            handlers,
            hosts: draw.between(1, u64::from(hosts_max)) as u8,
            hosts_max: hosts_max.max(2),
            turn_ms: 5,
            storm_ms: draw.between(6, 30) * 1_000,
            policy,
            lanes: lanes(&mut draw, sieve),
            untyped: draw.pick(&[Untyped::Handle, Untyped::Skip, Untyped::DeadLetter]).unwrap(),
            slots: if tight { 1 } else { draw.between(2, 10) as usize },
            limits: InboxLimits { records, bytes: if tight { 3_000 } else { 1 << 20 } },
            host_bytes: if tight { 6_000 } else { draw.between(20_000, 2_000_000) as usize },
            // Small beside what a partition may hold, so that the host's budget is felt.
            floor: Floor { records: 10, bytes: 1_000 },
            batch: if sieve { 1_500 } else { draw.between(1, 60) as usize },
            runner: runner(&mut draw, sieve),
            faults: FaultPlan::draw(&mut draw),
            cuts: CutPlan::of_handlers(seed, &beside, &group),
            databases,
            group,
            log,
        }
    }

    /// Whether a record is skipped by rule.
    pub fn is_skipped(&self, record: &Record) -> bool {
        match record.kind {
            Kind::Wanted => false,
            Kind::Unwanted => true,
            Kind::Untyped => self.untyped == Untyped::Skip,
        }
    }
}

fn group(draw: &mut Draw) -> GroupPlan {
    let session_ms = draw.between(10, 30) * 100;
    GroupPlan {
        session_ms,
        heartbeat_ms: session_ms / 5,
        commit_every_ms: draw.between(2, 8) * 50,
        drain_ms: draw.between(1, 6) * 50,
        request_ms: session_ms / 2,
        classic: draw.permille(500),
        latency_ms: (5, draw.between(6, 40)),
    }
}

fn log(draw: &mut Draw, sieve: bool) -> LogPlan {
    let keys = if sieve { 100_000 } else { draw.between(2, 40) };
    LogPlan {
        partitions: if sieve { 1 } else { draw.between(1, 5) as i32 },
        records: if sieve { 1_500 } else { draw.between(40, 800) as usize },
        early_permille: if sieve { 1_000 } else { draw.between(100, 900) },
        keys,
        skew: draw.below(4) as u32,
        keyless_permille: if draw.permille(300) { 100 } else { 0 },
        holes_permille: if sieve { 1_000 } else { draw.pick(&[0, 50, 300]).unwrap() },
        hole_bits: if sieve { 40 } else { draw.between(1, 6) as u32 },
        unwanted_permille: draw.pick(&[0, 100, 500]).unwrap(),
        untyped_permille: draw.pick(&[0, 0, 50]).unwrap(),
        poison_permille: if sieve { 0 } else { draw.pick(&[0, 10, 40]).unwrap() },
    }
}

fn policy(draw: &mut Draw, sieve: bool) -> Policy {
    let attempts_max = draw.between(1, 6) as u32;
    let cap = |draw: &mut Draw| draw.between(1, u64::from(attempts_max)) as u32;
    let then = draw.pick(&[Then::DeadLetter, Then::DeadLetter, Then::PauseLane, Then::Stop]).unwrap();
    let flood = Flood { window_events: draw.between(10, 40) as usize, share_percent: 50 };
    Policy {
        attempts_max: if sieve { 1_000 } else { attempts_max },
        caps: ClassCaps {
            retry: if sieve || draw.permille(500) { u32::MAX } else { cap(draw) },
            trap: cap(draw),
            timeout: cap(draw),
            memory: cap(draw),
            effects: draw.between(3, 60) as u32,
        },
        age_max_ms: (!sieve && draw.permille(200)).then(|| draw.between(5, 50) * 100),
        backoff_ms: draw.between(1, 30) * 10,
        backoff_max_ms: draw.between(5, 15) * 100,
        then,
        flood: draw.permille(600).then_some(flood),
        run_events_max: draw.between(1, 30) as usize,
        slice_ms: draw.between(5, 60),
        gap_max: if sieve { 5_000 } else { draw.pick(&[20, 100, 1_000]).unwrap() },
    }
}

fn lanes(draw: &mut Draw, sieve: bool) -> LaneRule {
    if sieve || draw.permille(700) {
        return LaneRule::Key;
    }
    draw.pick(&[LaneRule::KeyAndNull, LaneRule::Partition, LaneRule::None]).unwrap()
}

fn runner(draw: &mut Draw, sieve: bool) -> RunnerPlan {
    let mut class_weights = [0; 7];
    for weight in &mut class_weights {
        *weight = draw.pick(&[0, 1, 5]).unwrap();
    }
    if sieve || class_weights.iter().all(|weight| *weight == 0) {
        class_weights = [1, 0, 0, 0, 0, 0, 0];
    }
    RunnerPlan {
        failing_permille: if sieve { 0 } else { draw.pick(&[0, 20, 100, 400]).unwrap() },
        class_weights,
        slow_keys: draw.below(3) as u32,
        slow_ms: draw.between(20, 300),
        usual_ms: if sieve { 0 } else { draw.pick(&[0, 3, 15]).unwrap() },
        hang_permille: if sieve { 0 } else { draw.pick(&[0, 0, 10]).unwrap() },
        hang_ms: draw.between(5, 40) * 100,
        stops_at_failure: draw.permille(500),
        sieve,
    }
}
