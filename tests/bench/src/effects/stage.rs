//! The order of measurements: for each database and each cost of its commits all engines in turns, so that what
//! else the machine does meets all of them.

use std::cell::Cell;

use anyhow::{Result, ensure};
use keylane_e2e::broker::Broker as _;
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::plain::PlainClient;
use keylane_test_support::ApacheKafka;
use tokio::runtime::Runtime;

use super::figures::{Figure, Measured};
use super::plan::{Contender, EffectsPlan, Isolation, Kind, Part, Rows};
use super::store::{CommitCost, Store};
use super::throughput::{self, Setting};
use super::{idle, input, kafka_only, summary};
use crate::books::BALANCES;
use crate::report;

/// What all measurements share.
pub(super) struct Stage {
    pub(super) plan: EffectsPlan,
    pub(super) broker: String,
    /// For databases that are looked at.
    pub(super) runtime: Runtime,
    fleets: Cell<u32>,
    measured: Measured,
}

/// Starts a broker where none is given, measures and reports.
///
/// # Errors
/// When something could not be measured. What could be is reported all the same.
pub(crate) fn run(plan: &EffectsPlan) -> Result<()> {
    if let Some(broker) = &plan.broker {
        return Stage::new(plan, broker)?.measure();
    }
    if plan.dev_broker {
        let folder = tempfile::tempdir()?;
        let broker = DevBroker::start(folder.path())?;
        return Stage::new(plan, &broker.bootstrap)?.measure();
    }
    let kafka = ApacheKafka::start()?;
    Stage::new(plan, &kafka.bootstrap())?.measure()
}

impl Stage {
    fn new(plan: &EffectsPlan, broker: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (plan, broker) = (plan.clone(), broker.to_owned());
        Ok(Self { plan, broker, runtime, fleets: Cell::new(0), measured: Measured::default() })
    }

    fn measure(mut self) -> Result<()> {
        self.prepare()?;
        let mut failed = 0;
        for round in 1..=self.plan.rounds {
            for kind in self.plan.databases.clone() {
                failed += self.with_database(kind, round)?;
            }
            if self.has(Part::Kafka) {
                for guarantee in ["at-least-once", "exactly-once"] {
                    let figure = kafka_only::measure(&self, guarantee, round).map(Figure::Kafka);
                    failed += self.keep(&format!("Kafka only, {guarantee}"), figure)?;
                }
            }
        }
        summary::print(&self.plan, &self.measured)?;
        ensure!(failed == 0, "measurements that failed: {failed}");
        Ok(())
    }

    fn has(&self, part: Part) -> bool {
        self.plan.parts.contains(&part)
    }

    /// Makes the topics that are read and writes their records.
    fn prepare(&self) -> Result<()> {
        let plan = &self.plan;
        let mut topics = vec![BALANCES];
        let mut written = Vec::new();
        if self.has(Part::Throughput) || self.has(Part::Isolation) {
            written.push((Rows::OfItsKey.topic(), Rows::OfItsKey, plan.records));
        }
        if self.has(Part::Isolation) {
            written.push((Rows::Shared.topic(), Rows::Shared, plan.records));
        }
        if self.has(Part::Kafka) {
            topics.push(kafka_only::COPIES);
            written.push((kafka_only::TOPIC, Rows::OfItsKey, plan.kafka_records));
        }
        topics.extend(written.iter().map(|(topic, ..)| *topic));
        PlainClient::new(&self.broker).create_topics(&topics, plan.partitions)?;
        for (topic, rows, records) in written {
            report::progress(&format!("{topic}: writing {records} records"));
            input::write(plan, &self.broker, topic, rows, records)?;
        }
        Ok(())
    }

    /// All that one database is measured for. Answers how many measurements failed.
    fn with_database(&mut self, kind: Kind, round: u32) -> Result<u32> {
        let mut store = Store::start(kind, &self.plan.server)?;
        let added: Vec<u32> = match kind {
            // It has no setting that makes commits slower.
            Kind::Sqlite => vec![0],
            Kind::Postgres => self.plan.commit_ms.clone(),
        };
        let mut failed = 0;
        for added_ms in added {
            for (contender, rows) in self.turns(kind, round) {
                let commit = self.cost(&mut store, added_ms)?;
                let setting = Setting { commit, rows, round };
                let figure = throughput::measure(self, &mut store, contender, setting);
                failed += self.keep(&contender.name(), figure.map(Figure::Throughput))?;
            }
            failed += self.singles(&mut store, added_ms, round)?;
        }
        Ok(failed)
    }

    /// What a commit costs right now: disks differ from minute to minute.
    fn cost(&self, store: &mut Store, added_ms: u32) -> Result<CommitCost> {
        let commit = store.cost_commits(&self.runtime, added_ms)?;
        let CommitCost { p50_ms, p95_ms, .. } = commit;
        let name = store.kind.name();
        report::progress(&format!("{name}: a commit takes {p50_ms:.2} ms (95 of 100: {p95_ms:.2})"));
        Ok(commit)
    }

    /// Who is measured for throughput, on which rows. Whoever came first comes last in the next round.
    fn turns(&self, kind: Kind, round: u32) -> Vec<(Contender, Rows)> {
        let mut turns = Vec::new();
        if self.has(Part::Throughput) {
            let by_hand = self.plan.workers.iter().map(|workers| Contender::HandWritten(*workers));
            let contenders = by_hand.chain([Contender::RunsOfOne, Contender::keylane()]);
            turns.extend(contenders.map(|contender| (contender, Rows::OfItsKey)));
        }
        if self.has(Part::Isolation) && kind == Kind::Postgres {
            for rows in [Rows::OfItsKey, Rows::Shared] {
                for isolation in [Isolation::Serializable, Isolation::ReadCommitted] {
                    let turn = (Contender::Keylane(isolation), rows);
                    // Throughput may have it already.
                    if !turns.contains(&turn) {
                        turns.push(turn);
                    }
                }
            }
        }
        let first = round.saturating_sub(1) as usize % turns.len().max(1);
        turns.rotate_left(first);
        turns
    }

    fn singles(&mut self, store: &mut Store, added_ms: u32, round: u32) -> Result<u32> {
        let mut failed = 0;
        if self.has(Part::Idle) {
            for contender in [Contender::HandWritten(1), Contender::keylane()] {
                let commit = self.cost(store, added_ms)?;
                let figure = idle::measure(self, store, contender, commit, round).map(Figure::Single);
                failed += self.keep(&format!("{}, idle", contender.name()), figure)?;
            }
        }
        Ok(failed)
    }

    /// Reports a figure and keeps it. A measurement that failed is told of, and the others go on.
    fn keep(&mut self, what: &str, figure: Result<Figure>) -> Result<u32> {
        match figure {
            Ok(figure) => {
                figure.print()?;
                self.measured.add(figure);
                Ok(0)
            }
            Err(error) => {
                report::complain(&error.context(what.to_owned()));
                Ok(1)
            }
        }
    }

    /// A name that no measurement on this broker has had: its group is new.
    pub(super) fn next_fleet(&self) -> String {
        self.fleets.set(self.fleets.get() + 1);
        format!("bench-{}-{}", std::process::id(), self.fleets.get())
    }
}
