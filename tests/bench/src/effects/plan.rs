//! What is measured, from the command line.

use clap::{Args, ValueEnum};

use crate::books::Accounts;

/// Measures handlers with effects: the host beside a consumer written by hand
#[derive(Debug, Clone, Args)]
pub(crate) struct EffectsPlan {
    /// Which measurements
    #[arg(long, value_delimiter = ',', default_value = "throughput,isolation,idle,kafka", value_enum)]
    pub(crate) parts: Vec<Part>,
    /// Which databases
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres", value_enum)]
    pub(crate) databases: Vec<Kind>,
    /// What PostgreSQL adds to each commit, in milliseconds: 0 is the disk as it is
    #[arg(long, value_delimiter = ',', default_value = "0,4", value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) commit_ms: Vec<u32>,
    /// How many transactions at once the consumer written by hand has
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: Vec<u32>,
    /// How many records a topic has
    #[arg(long, default_value_t = 120_000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) records: u32,
    /// How many records the topic has that only Kafka's part reads
    #[arg(long, default_value_t = 200_000, value_name = "N", value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub(crate) kafka_records: u32,
    /// How many accounts, drawn with Zipf's weights; the key of a record is its account
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) accounts: u32,
    /// How full PostgreSQL fills the accounts' pages at first, in hundredths: room for changed rows beside the
    /// old ones keeps serializable runs out of each other's way
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100))]
    pub(crate) fill: u32,
    /// Accounts are drawn alike, not with Zipf's weights
    #[arg(long)]
    pub(crate) even: bool,
    /// Partitions of the topics
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1_000))]
    pub(crate) partitions: i32,
    /// A setting of PostgreSQL that can be changed while it runs; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) server: Vec<String>,
    /// A line in `[limits]` of keylane's manifests; may be repeated
    #[arg(long, value_name = "LINE")]
    pub(crate) limit: Vec<String>,
    /// How long one measurement lasts at most, in seconds
    #[arg(long, default_value_t = 15, value_name = "S", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// How often each is measured
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// How many single records the part `idle` sends
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) singles: u32,
    /// The same seed writes the same records
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// A broker that runs already and has no topics `bench-*`; without one an Apache Kafka is started
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "dev_broker")]
    pub(crate) broker: Option<String>,
    /// Starts a development broker instead
    #[arg(long)]
    pub(crate) dev_broker: bool,
}

impl EffectsPlan {
    /// The accounts of the books.
    pub(crate) fn accounts(&self) -> Accounts {
        Accounts { number: self.accounts, fill: self.fill }
    }
}

/// A group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Events per second: by hand, runs of one, runs sized by the engine
    Throughput,
    /// PostgreSQL: serializable beside read-committed, with rows of their own and with shared ones
    Isolation,
    /// How long one record takes when nothing else is to be done
    Idle,
    /// Without a database: exactly once beside at least once
    Kafka,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// How keylane keeps runs apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    Serializable,
    ReadCommitted,
}

impl Isolation {
    /// As the manifest says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serializable => "serializable",
            Self::ReadCommitted => "read-committed",
        }
    }
}

/// Who handles the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    /// The consumer written by hand, with so many transactions at once.
    HandWritten(u32),
    /// keylane with runs of one event.
    RunsOfOne,
    /// keylane as it comes.
    Keylane(Isolation),
}

impl Contender {
    /// For people, and the same for all rounds.
    pub(crate) fn name(self) -> String {
        match self {
            Self::HandWritten(workers) => format!("by hand, {workers} at once"),
            Self::RunsOfOne => "keylane, runs of one".to_owned(),
            Self::Keylane(Isolation::Serializable) => "keylane".to_owned(),
            Self::Keylane(Isolation::ReadCommitted) => "keylane, read-committed".to_owned(),
        }
    }

    /// The default: serializable.
    pub(crate) const fn keylane() -> Self {
        Self::Keylane(Isolation::Serializable)
    }
}

/// Which rows an event changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// Those of its key.
    OfItsKey,
    /// Those of any key.
    Shared,
}

impl Rows {
    /// The topic whose records are so.
    pub(crate) fn topic(self) -> &'static str {
        match self {
            Self::OfItsKey => "bench-entries",
            Self::Shared => "bench-entries-shared",
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OfItsKey => "own rows",
            Self::Shared => "shared rows",
        }
    }
}
