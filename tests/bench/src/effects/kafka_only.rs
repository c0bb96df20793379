//! Without a database: a handler that copies each record to another topic, exactly once beside at least once.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::Subscription;
use keylane_e2e::offsets::Onlooker;
use keylane_test_support::waiting;

use super::engine::{Engine, HANDLER, Task};
use super::figures::KafkaOnly;
use super::produced::Produced;
use super::stage::Stage;
use crate::books::EntryMade;

/// What is read.
pub(super) const TOPIC: &str = "bench-originals";
/// Where the component copies to.
pub(super) const COPIES: &str = "echoes";
/// How long the first event, and all of them, may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Time between two questions for what is committed. They cost the broker something, not the host.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Measures until all records are committed.
///
/// # Errors
/// When the host does not start or does not get there, or a copy is missing or there twice.
pub(super) fn measure(stage: &Stage, guarantee: &'static str, round: u32) -> Result<KafkaOnly> {
    let fleet = stage.next_fleet();
    let task = Task {
        broker: &stage.broker,
        topic: TOPIC,
        fleet: &fleet,
        accounts: stage.plan.accounts(),
        limits: &stage.plan.limit,
    };
    let ends = Onlooker::new(&stage.broker).ends(COPIES)?;
    let mut engine = Engine::copying(&task, guarantee, COPIES)?;
    let subscription = [Subscription { group: format!("{fleet}.{HANDLER}"), topics: vec![TOPIC.to_owned()] }];
    let mut onlooker = Onlooker::new(&stage.broker);
    let mut committed = || {
        let positions = onlooker.positions(&subscription)?;
        let committed: i64 = positions.iter().filter_map(|position| position.committed).sum();
        anyhow::Ok(u64::try_from(committed)?)
    };
    let first = waiting::closely("the first commit", LIMIT, || {
        engine.must_run()?;
        Ok(Some(committed()?).filter(|committed| *committed > 0))
    })?;
    let (began, before) = (Instant::now(), engine.usage()?);
    let records = u64::from(stage.plan.kafka_records);
    ensure!(first < records, "all was over before it could be measured: use more --kafka-records");
    while committed()? < records {
        engine.must_run()?;
        ensure!(began.elapsed() < LIMIT, "not all records were committed in time");
        std::thread::sleep(LOOK_EVERY);
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), engine.usage()?);
    engine.end().context("its end")?;
    // Nothing fails here, so at least once is once too.
    let produced = Produced::behind(&stage.broker, COPIES, &ends)?;
    produced.must_be_once(stage.plan.kafka_records, |made: &EntryMade| Ok(made.number)).context("copies")?;
    let engine_cpu_s = after.cpu_s - before.cpu_s;
    Ok(KafkaOnly { guarantee, round, events: records - first, seconds, engine_cpu_s })
}
