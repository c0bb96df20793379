//! What is printed: a JSON line for each measurement and for the summary, and a table for people.

use std::io::Write as _;

use anyhow::{Context, Result};
use comfy_table::Table;
use serde_json::json;

use crate::Plan;
use keylane_e2e::usage::Usage;

/// One engine, one pass over the topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    /// `bare` or `keylane`.
    pub(crate) engine: &'static str,
    /// From 1.
    pub(crate) round: u32,
    /// Records read.
    pub(crate) records: u64,
    /// For the bare loop from the first record to the last, for keylane from readiness to the last commit.
    pub(crate) wall_s: f64,
    /// Of the whole process.
    pub(crate) usage: Usage,
}

impl Measurement {
    fn cpu_s_per_million(&self) -> f64 {
        self.usage.cpu_s * 1e6 / self.records as f64
    }

    fn records_per_s(&self) -> f64 {
        self.records as f64 / self.wall_s.max(f64::EPSILON)
    }
}

/// The profile that this program, and so the host beside it, was built with.
pub(crate) fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

/// Prints one measurement.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn line(measurement: &Measurement) -> Result<()> {
    let Measurement { engine, round, records, wall_s, usage } = measurement;
    let line = json!({
        "engine": engine, "round": round, "records": records, "profile": profile(),
        "cpu_s": usage.cpu_s, "cpu_s_per_million": measurement.cpu_s_per_million(),
        "wall_s": wall_s, "records_per_s": measurement.records_per_s(),
        "rss_mib": usage.rss_mib, "rss_max_mib": usage.rss_max_mib,
    });
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Prints the medians, their ratio and the table.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn summary(plan: &Plan, rest: &Usage, measured: &[Measurement]) -> Result<()> {
    let median_of = |engine: &str, figure: fn(&Measurement) -> f64| {
        let figures = measured.iter().filter(|measurement| measurement.engine == engine).map(figure);
        median(figures.collect()).context("nothing was measured")
    };
    let bare = median_of("bare", Measurement::cpu_s_per_million)?;
    let keylane = median_of("keylane", Measurement::cpu_s_per_million)?;
    let start = rest.cpu_s * 1e6 / plan.records as f64;
    let summary = json!({
        "summary": {
            "records": plan.records, "keys": plan.keys, "partitions": plan.partitions, "seed": plan.seed,
            "rounds": plan.rounds, "profile": profile(),
            "bare_cpu_s_per_million": bare, "keylane_cpu_s_per_million": keylane,
            "ratio": keylane / bare, "keylane_less_start_cpu_s_per_million": keylane - start,
            "rest_cpu_s": rest.cpu_s, "rest_rss_mib": rest.rss_mib,
        }
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{summary}\n")?;
    writeln!(out, "{}\n", table(measured))?;
    writeln!(
        out,
        "CPU seconds for a million records (medians of {} rounds, {} build): bare {bare:.2}, keylane {keylane:.2}: {:.2} times.\n\
         Of keylane's, the start itself takes {:.2} s. At rest it holds {} MiB.",
        plan.rounds,
        profile(),
        keylane / bare,
        rest.cpu_s,
        rest.rss_mib,
    )?;
    if profile() == "dev" {
        writeln!(out, "This build is not fully optimised: `make bench` is.")?;
    }
    Ok(())
}

fn table(measured: &[Measurement]) -> Table {
    let mut table = Table::new();
    table.set_header([
        "engine",
        "round",
        "CPU s",
        "CPU s a million",
        "records/s",
        "MiB after",
        "MiB at most",
    ]);
    for measurement in measured {
        table.add_row([
            measurement.engine.to_owned(),
            measurement.round.to_string(),
            format!("{:.2}", measurement.usage.cpu_s),
            format!("{:.2}", measurement.cpu_s_per_million()),
            format!("{:.0}", measurement.records_per_s()),
            measurement.usage.rss_mib.to_string(),
            measurement.usage.rss_max_mib.to_string(),
        ]);
    }
    table
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get((figures.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// Says what happens now, on standard error.
pub(crate) fn progress(text: &str) {
    // Nobody is left to tell when standard error itself is closed.
    let _ = writeln!(std::io::stderr(), "bench: {text}");
}

/// Says why it failed, on standard error.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(Vec::new()), None);
    }
}
