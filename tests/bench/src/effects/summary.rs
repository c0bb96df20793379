//! Tables for people, and how the engines compare.

use std::io::Write as _;

use anyhow::Result;
use comfy_table::Table;

use super::figures::{Measured, Throughput};
use super::plan::{Contender, EffectsPlan, Kind, Rows};
use crate::report::{self, median};

/// Prints all.
///
/// # Errors
/// When standard output is closed.
pub(super) fn print(plan: &EffectsPlan, measured: &Measured) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let drawn = if plan.even { "drawn alike" } else { "drawn with Zipf's weights" };
    writeln!(
        out,
        "\n{} accounts {drawn}, {} partitions, {} records or {} s, {} rounds, {} build",
        plan.accounts,
        plan.partitions,
        plan.records,
        plan.seconds,
        plan.rounds,
        report::profile()
    )?;
    if !measured.throughput.is_empty() {
        writeln!(out, "\n{}\n", throughput(measured))?;
        comparisons(measured).iter().try_for_each(|line| writeln!(out, "{line}"))?;
    }
    if !measured.singles.is_empty() {
        writeln!(out, "\n{}", singles(measured))?;
    }
    if !measured.kafka.is_empty() {
        writeln!(out, "\n{}", kafka(measured))?;
    }
    Ok(())
}

/// What is compared with each other: a database, what is added to its commits, and rows.
type Case = (Kind, u32, Rows);

fn case_of(one: &Throughput) -> Case {
    (one.kind, one.setting.commit.added_ms, one.setting.rows)
}

fn cases(measured: &Measured) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for case in measured.throughput.iter().map(case_of) {
        if !cases.contains(&case) {
            cases.push(case);
        }
    }
    cases
}

fn throughput(measured: &Measured) -> Table {
    let mut table = Table::new();
    table.set_header([
        "database",
        "commit p50 ms",
        "rows",
        "engine",
        "events/s",
        "engine CPU us",
        "server CPU us",
        "events a run",
        "conflicts",
        "undone",
        "unsent",
    ]);
    for one in &measured.throughput {
        let (engine_us, server_us) = one.cpu_us();
        let or_none = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.0}"));
        table.add_row([
            one.kind.name().to_owned(),
            format!("{:.2}", one.setting.commit.p50_ms),
            one.setting.rows.name().to_owned(),
            one.contender.name(),
            format!("{:.0}", one.per_s()),
            format!("{engine_us:.0}"),
            or_none(server_us),
            or_none(one.events_per_run),
            format!("{:.0}", one.conflicts),
            format!("{:.0}", one.undone),
            one.unsent.to_string(),
        ]);
    }
    table
}

/// Ratios of medians, within what is comparable.
fn comparisons(measured: &Measured) -> Vec<String> {
    let mut lines = Vec::new();
    for case in cases(measured) {
        let of = |wanted: &dyn Fn(Contender) -> bool| per_contender(measured, case, wanted);
        let Some((_, keylane)) = of(&|contender| contender == Contender::keylane()).pop() else { continue };
        let by_hand = of(&|contender| matches!(contender, Contender::HandWritten(_)));
        let best = by_hand.iter().copied().max_by(|one, other| one.1.total_cmp(&other.1));
        let others = [
            by_hand.iter().copied().find(|(contender, _)| *contender == Contender::HandWritten(1)),
            best.filter(|(contender, _)| *contender != Contender::HandWritten(1)),
            of(&|contender| contender == Contender::RunsOfOne).pop(),
            of(&|contender| matches!(contender, Contender::Keylane(_)) && contender != Contender::keylane())
                .pop(),
        ];
        let (kind, added_ms, rows) = case;
        let cost = if added_ms == 0 { "the disk as it is".to_owned() } else { format!("{added_ms} ms more") };
        for (contender, other) in others.into_iter().flatten() {
            lines.push(format!(
                "{}, {cost}, {}: keylane {keylane:.0}/s is {:.1} times {} ({other:.0}/s)",
                kind.name(),
                rows.name(),
                keylane / other.max(f64::EPSILON),
                contender.name(),
            ));
        }
    }
    lines
}

/// The median of each contender that is wanted.
fn per_contender(
    measured: &Measured,
    case: Case,
    wanted: &dyn Fn(Contender) -> bool,
) -> Vec<(Contender, f64)> {
    let of_case: Vec<&Throughput> = measured.throughput.iter().filter(|one| case_of(one) == case).collect();
    let mut contenders: Vec<Contender> = Vec::new();
    for contender in of_case.iter().map(|one| one.contender).filter(|contender| wanted(*contender)) {
        if !contenders.contains(&contender) {
            contenders.push(contender);
        }
    }
    let rate = |contender: Contender| {
        let rates = of_case.iter().filter(|one| one.contender == contender).map(|one| one.per_s());
        median(rates.collect()).unwrap_or_default()
    };
    contenders.into_iter().map(|contender| (contender, rate(contender))).collect()
}

fn singles(measured: &Measured) -> Table {
    let mut table = Table::new();
    table.set_header([
        "one record, idle",
        "commit p50 ms",
        "engine",
        "committed p50 ms",
        "p95",
        "read p50 ms",
        "p95",
    ]);
    for one in &measured.singles {
        table.add_row([
            one.kind.name().to_owned(),
            format!("{:.2}", one.commit.p50_ms),
            one.contender.name(),
            format!("{:.1}", one.committed_ms.p50),
            format!("{:.1}", one.committed_ms.p95),
            format!("{:.1}", one.read_ms.p50),
            format!("{:.1}", one.read_ms.p95),
        ]);
    }
    table
}

fn kafka(measured: &Measured) -> Table {
    let mut table = Table::new();
    table.set_header(["Kafka only", "round", "events/s", "engine CPU us"]);
    for one in &measured.kafka {
        table.add_row([
            one.guarantee.to_owned(),
            one.round.to_string(),
            format!("{:.0}", one.per_s()),
            format!("{:.0}", one.engine_cpu_s * 1e6 / one.events.max(1) as f64),
        ]);
    }
    table
}
