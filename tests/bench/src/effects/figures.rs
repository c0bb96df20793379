//! What was measured: a JSON line for each, as soon as it is known.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::plan::{Contender, Kind};
use super::store::CommitCost;
use super::throughput::Setting;
use crate::report;

/// Events per second.
#[derive(Debug, Clone)]
pub(super) struct Throughput {
    pub(super) kind: Kind,
    pub(super) contender: Contender,
    pub(super) setting: Setting,
    /// Events whose rows were committed and whose records left, within the time.
    pub(super) events: u64,
    pub(super) seconds: f64,
    /// CPU time of the engine's process.
    pub(super) engine_cpu_s: f64,
    /// CPU time of the database's server, if it has one.
    pub(super) server_cpu_s: Option<f64>,
    /// Only the host tells.
    pub(super) events_per_run: Option<f64>,
    pub(super) conflicts: f64,
    pub(super) undone: f64,
    /// Records that had not left in the end.
    pub(super) unsent: u64,
    /// Whether all records were done before the time was over.
    pub(super) finished: bool,
}

/// How long single records took.
#[derive(Debug, Clone)]
pub(super) struct Single {
    pub(super) kind: Kind,
    pub(super) contender: Contender,
    pub(super) commit: CommitCost,
    round: u32,
    pub(super) committed_ms: Share,
    pub(super) read_ms: Share,
}

/// Half, and 95 of 100, took no longer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) p50: f64,
    pub(super) p95: f64,
}

/// The host without a database.
#[derive(Debug, Clone)]
pub(super) struct KafkaOnly {
    pub(super) guarantee: &'static str,
    pub(super) round: u32,
    pub(super) events: u64,
    pub(super) seconds: f64,
    pub(super) engine_cpu_s: f64,
}

/// One measurement.
pub(super) enum Figure {
    Throughput(Throughput),
    Single(Single),
    Kafka(KafkaOnly),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) throughput: Vec<Throughput>,
    pub(super) singles: Vec<Single>,
    pub(super) kafka: Vec<KafkaOnly>,
}

impl Measured {
    /// Keeps one.
    pub(super) fn add(&mut self, figure: Figure) {
        match figure {
            Figure::Throughput(one) => self.throughput.push(one),
            Figure::Single(one) => self.singles.push(one),
            Figure::Kafka(one) => self.kafka.push(one),
        }
    }
}

impl Throughput {
    pub(super) fn per_s(&self) -> f64 {
        self.events as f64 / self.seconds.max(f64::EPSILON)
    }

    /// CPU microseconds for an event: the engine's, and the server's with it.
    pub(super) fn cpu_us(&self) -> (f64, Option<f64>) {
        let each = |seconds: f64| seconds * 1e6 / self.events.max(1) as f64;
        (each(self.engine_cpu_s), self.server_cpu_s.map(each))
    }

    fn json(&self) -> Value {
        let (engine_us, server_us) = self.cpu_us();
        json!({
            "part": "throughput", "database": self.kind.name(), "engine": self.contender.name(),
            "rows": self.setting.rows.name(), "round": self.setting.round,
            "commit_added_ms": self.setting.commit.added_ms, "commit_p50_ms": self.setting.commit.p50_ms,
            "commit_p95_ms": self.setting.commit.p95_ms, "events": self.events, "seconds": self.seconds,
            "events_per_s": self.per_s(), "engine_cpu_us": engine_us, "server_cpu_us": server_us,
            "events_per_run": self.events_per_run, "conflicts": self.conflicts, "undone": self.undone,
            "unsent": self.unsent, "finished": self.finished,
        })
    }
}

impl Share {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort();
        let at =
            |hundredths: usize| took.get(took.len() * hundredths / 100).map_or(0.0, Duration::as_secs_f64);
        Self { p50: at(50) * 1e3, p95: at(95) * 1e3 }
    }
}

impl Single {
    /// From what each record took until its rows were committed, and until its record could be read.
    pub(super) fn new(
        (kind, contender, commit, round): (Kind, Contender, CommitCost, u32),
        committed: Vec<Duration>,
        read: Vec<Duration>,
    ) -> Self {
        let (committed_ms, read_ms) = (Share::of(committed), Share::of(read));
        Self { kind, contender, commit, round, committed_ms, read_ms }
    }

    fn json(&self) -> Value {
        json!({
            "part": "idle", "database": self.kind.name(), "engine": self.contender.name(), "round": self.round,
            "commit_added_ms": self.commit.added_ms, "commit_p50_ms": self.commit.p50_ms,
            "committed_p50_ms": self.committed_ms.p50, "committed_p95_ms": self.committed_ms.p95,
            "read_p50_ms": self.read_ms.p50, "read_p95_ms": self.read_ms.p95,
        })
    }
}

impl KafkaOnly {
    pub(super) fn per_s(&self) -> f64 {
        self.events as f64 / self.seconds.max(f64::EPSILON)
    }

    fn json(&self) -> Value {
        json!({
            "part": "kafka", "guarantee": self.guarantee, "round": self.round, "events": self.events,
            "seconds": self.seconds, "events_per_s": self.per_s(),
            "engine_cpu_us": self.engine_cpu_s * 1e6 / self.events.max(1) as f64,
        })
    }
}

impl Figure {
    /// Prints its line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(super) fn print(&self) -> Result<()> {
        let mut line = match self {
            Self::Throughput(one) => one.json(),
            Self::Single(one) => one.json(),
            Self::Kafka(one) => one.json(),
        };
        if let Some(line) = line.as_object_mut() {
            line.insert("profile".to_owned(), report::profile().into());
        }
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_nearly_all_took_no_longer() {
        let share = Share::of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((share.p50, share.p95), (51.0, 96.0));
        assert_eq!(Share::of(Vec::new()).p50, 0.0);
    }
}
