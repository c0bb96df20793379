//! One measurement of throughput.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::metrics::Metrics;
use keylane_e2e::offsets::Onlooker;
use keylane_test_support::waiting;

use super::engine::{Engine, Task};
use super::figures::Throughput;
use super::plan::{Contender, Rows};
use super::produced::Produced;
use super::stage::Stage;
use super::store::{CommitCost, Store};
use super::watch::Watch;
use crate::books::{BALANCES, Balance};

/// How long the first effect may take.
const FIRST_LIMIT: Duration = Duration::from_secs(120);
/// Time between two looks while it works. A look costs the database something.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The same when only the last records have to leave.
const LOOK_CLOSELY: Duration = Duration::from_millis(5);

/// What stands still while engines take turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) commit: CommitCost,
    pub(super) rows: Rows,
    pub(super) round: u32,
}

/// A moment of a measurement.
struct Moment {
    at: Instant,
    /// Events whose rows are committed and whose records have left.
    complete: u64,
    engine_cpu_s: f64,
    server_cpu_s: Option<f64>,
    metrics: Metrics,
}

/// Measures one engine on an empty database.
///
/// # Errors
/// When it does not work, or does something twice.
pub(super) fn measure(
    stage: &Stage,
    store: &mut Store,
    contender: Contender,
    setting: Setting,
) -> Result<Throughput> {
    let place = store.fresh()?;
    let fleet = stage.next_fleet();
    let plan = &stage.plan;
    let topic = setting.rows.topic();
    let task =
        Task { broker: &stage.broker, topic, fleet: &fleet, accounts: plan.accounts(), limits: &plan.limit };
    let ends = Onlooker::new(&stage.broker).ends(BALANCES)?;
    let mut engine = Engine::start(&stage.runtime, contender, &task, &place)?;
    let mut watch = Watch::open(&stage.runtime, &place, contender)?;
    waiting::closely("the first effect", FIRST_LIMIT, || {
        engine.must_run()?;
        Ok((watch.committed()? > 0).then_some(()))
    })?;
    let began = moment(stage, store, &engine, &mut watch)?;
    let finished = until_over(stage, &mut engine, &mut watch, began.at)?;
    let over = moment(stage, store, &engine, &mut watch)?;
    let unsent = watch.unsent()?;
    engine.end()?;
    if finished {
        let produced = Produced::behind(&stage.broker, BALANCES, &ends)?;
        must_be_once(&produced, plan.records, setting.rows).context("what it told")?;
        ensure!(watch.committed()? == u64::from(plan.records), "rows were written twice");
    }
    Ok(figures(store, contender, setting, &began, &over, (unsent, finished)))
}

/// One record for each event; where the rows are those of the event's key, an account's records count its
/// entries.
fn must_be_once(produced: &Produced, events: u32, rows: Rows) -> Result<()> {
    let mut entries: BTreeMap<i64, i64> = BTreeMap::new();
    produced.must_be_once(events, |balance: &Balance| {
        let before = entries.insert(balance.account, balance.entries).unwrap_or_default();
        let in_order = balance.entries == before + 1;
        ensure!(in_order || rows == Rows::Shared, "out of order: {balance:?} behind {before}");
        Ok(balance.number)
    })
}

/// Waits until all is done and has left, or the time is over. Answers whether all is done.
fn until_over(stage: &Stage, engine: &mut Engine, watch: &mut Watch<'_>, began: Instant) -> Result<bool> {
    let (limit, records) = (Duration::from_secs(stage.plan.seconds.into()), u64::from(stage.plan.records));
    let mut committed = false;
    while began.elapsed() < limit {
        engine.must_run()?;
        committed = committed || watch.committed()? >= records;
        if committed && watch.unsent()? == 0 {
            return Ok(true);
        }
        std::thread::sleep(if committed { LOOK_CLOSELY } else { LOOK_EVERY });
    }
    Ok(false)
}

fn moment(stage: &Stage, store: &Store, engine: &Engine, watch: &mut Watch<'_>) -> Result<Moment> {
    let unsent = watch.unsent()?;
    let committed = watch.committed()?;
    Ok(Moment {
        at: Instant::now(),
        complete: committed.saturating_sub(unsent),
        engine_cpu_s: engine.usage()?.cpu_s,
        server_cpu_s: store.cpu_s(&stage.runtime)?,
        metrics: engine.metrics()?,
    })
}

fn figures(
    store: &Store,
    contender: Contender,
    setting: Setting,
    began: &Moment,
    over: &Moment,
    (unsent, finished): (u64, bool),
) -> Throughput {
    let grew = |name: &str| over.metrics.sum(name, &[]) - began.metrics.sum(name, &[]);
    let (runs, in_runs) = (grew("keylane_run_events_count"), grew("keylane_run_events_sum"));
    Throughput {
        kind: store.kind,
        contender,
        setting,
        events: over.complete.saturating_sub(began.complete),
        seconds: over.at.duration_since(began.at).as_secs_f64(),
        engine_cpu_s: over.engine_cpu_s - began.engine_cpu_s,
        server_cpu_s: over.server_cpu_s.zip(began.server_cpu_s).map(|(over, began)| over - began),
        events_per_run: (runs > 0.0).then(|| in_runs / runs),
        conflicts: grew("keylane_run_conflicts_total"),
        undone: grew("keylane_runs_undone_total"),
        unsent,
        finished,
    }
}
