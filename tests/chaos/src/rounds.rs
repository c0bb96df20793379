//! Runs rounds one after another on one stage, and ends at the first that is not right.

use anyhow::{Result, bail};

use crate::check;
use crate::effects::Effects;
use crate::fleet::Protocol;
use crate::plan::Plan;
use crate::report::{self, Row, say};
use crate::stage::{self, Stage};

/// How many findings are said; all of them are written down.
const SAID: usize = 30;

/// Runs so many rounds; the first is drawn from this seed, each later one from the next number, so that a
/// failed round can be played again alone.
///
/// # Errors
/// When a round was not right, after its evidence was written down, or when the stage itself failed.
pub fn run(rounds: u64, seed: u64, protocol: Protocol, effects: Option<Effects>) -> Result<Vec<Row>> {
    let mut stage = Stage::start(protocol, effects)?;
    say(&format!("three brokers and three hosts in {}", stage.folder().display()));
    let mut rows = Vec::new();
    for (round, seed) in (1..=rounds).zip(seed..) {
        match one(&mut stage, round, Plan::draw(seed, effects)) {
            Ok(row) if row.findings == 0 => rows.push(row),
            Ok(row) => {
                rows.push(row);
                say(&format!("all rounds so far\n{}", report::table(&rows)));
                bail!("round {round} failed; seed {seed}; what happened is in {}", stage.keep().display());
            }
            Err(error) => {
                let kept = stage.keep();
                let told =
                    format!("round {round} broke off; seed {seed}; what happened is in {}", kept.display());
                return Err(error.context(told));
            }
        }
    }
    say(&format!("{rounds} rounds are right\n{}", report::table(&rows)));
    Ok(rows)
}

fn one(stage: &mut Stage, round: u64, plan: Plan) -> Result<Row> {
    let seed = plan.seed;
    say(&format!("round {round}, seed {seed}: {} records a second, {} keys", plan.rate, plan.keys));
    let outcome = stage.round(&plan)?;
    let verdict = check::judge(&outcome.evidence);
    let findings = [outcome.findings.as_slice(), &verdict.findings].concat();
    let tally = verdict.tally;
    let repeats = tally.repeats();
    say(&format!(
        "    {} events: {} done, {} in the dead letters; {repeats} repeats; handled {} ms after the last record",
        tally.events, tally.done, tally.dead, outcome.drain_ms
    ));
    if !findings.is_empty() {
        findings.iter().take(SAID).for_each(|finding| say(&format!("    WRONG: {finding}")));
        stage::save(stage.folder(), &plan, &outcome, &findings)?;
    }
    Ok(Row { round, plan, tally, drain_ms: outcome.drain_ms, findings: findings.len() })
}
