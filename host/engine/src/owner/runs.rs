//! The owner's runs: how they are started, what they answer, and the watchdog over those that are out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_lanes::{Action, Input, RunId, Verdict};
use tokio::time::Instant;

use super::Owner;
use super::cutting::Sifted;
use crate::claims::ClaimsError;
use crate::ports::{DeadLetters, FailureClass, Outcome, RunReport, RunStand, Runner};
use crate::run_control::RunControl;
use crate::slots::Slot;
use crate::tally::Count;

/// How often the watchdog looks while a run is out. The client's own poll timer cannot see a stuck run.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The most keys of a stuck run that are named.
const KEYS_TOLD_MAX: usize = 10;

/// A run that has come back: one outcome for each attempt.
pub(super) struct EndedRun {
    run: RunId,
    report: RunReport,
    spent: Duration,
}

/// The runs that are out.
#[derive(Default)]
pub(super) struct RunsOut {
    /// Runs are counted as they begin, so the first is the oldest.
    runs: BTreeMap<RunId, RunOut>,
    looked_at: Option<Instant>,
}

struct RunOut {
    begun: Instant,
    offsets: Vec<i64>,
    /// Those of them that the runner was not given.
    left_out: BTreeSet<i64>,
    /// Said once.
    told: bool,
}

impl RunsOut {
    /// When the watchdog looks next, if there is anything to look at.
    pub(super) fn look_at(&self) -> Option<Instant> {
        let oldest = self.runs.values().next()?.begun;
        Some(self.looked_at.map_or(oldest, |looked_at| looked_at.max(oldest)) + LOOK_EVERY)
    }

    /// How long the oldest run has been out.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.runs.values().next().map(|run| run.begun.elapsed())
    }
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    pub(super) fn start_run(&mut self, slot: Slot) {
        // Asked here, where nothing can come between it and the run. The head of the loop does the rest.
        if !self.lease.holds() || !self.has_room_for_a_run() {
            return;
        }
        let free = self.stand.others_free() + 1;
        let mut actions = Vec::new();
        self.lanes.step(self.now_ms(), Input::Slot { free }, &mut actions);
        let Some(Action::Start { run, attempts }) = actions.pop() else { return };
        let offsets: Vec<i64> = attempts.iter().map(|attempt| attempt.offset).collect();
        let begun = Instant::now();
        let (attempts, left_out) = match self.sift(attempts) {
            Sifted::Begins { attempts, left_out } => (self.held.attempts(&attempts), left_out),
            Sifted::Ended(report) => {
                let left_out = BTreeSet::new();
                self.out.runs.insert(run, RunOut { begun, offsets, left_out, told: false });
                self.runs.spawn(std::future::ready(EndedRun { run, report, spent: Duration::ZERO }));
                return;
            }
        };
        self.meters.run_events.record(attempts.len() as f64);
        self.out.runs.insert(run, RunOut { begun, offsets, left_out, told: false });
        let (runner, lease, stop) =
            (self.shared.runner.clone(), self.lease.clone(), self.intake.stop.clone());
        let slice = Duration::from_millis(self.shared.options.policy.slice_ms);
        let (out, topic_id) = (self.intake.out(), self.topic_id);
        let fence = self.fenced.as_ref().map(|fenced| fenced.fence);
        self.runs.spawn(async move {
            let _out = out;
            let begun = Instant::now();
            // The task may begin long after it was made: on a machine that slept in between, for one.
            let report = if lease.holds() && !stop.load(Ordering::Acquire) {
                let control = RunControl::new(slice, stop, lease).under(fence).of_topic(topic_id);
                runner.run(attempts, control).await
            } else {
                vec![Outcome::NotStarted; attempts.len()].into()
            };
            drop(slot);
            let spent = report.spent.unwrap_or_else(|| begun.elapsed());
            EndedRun { run, report, spent }
        });
    }

    pub(super) fn end_run(&mut self, ended: EndedRun) {
        let out = self.out.runs.remove(&ended.run);
        let (offsets, left_out) = out.map(|run| (run.offsets, run.left_out)).unwrap_or_default();
        match ended.report.stand {
            RunStand::Kept => {}
            RunStand::Overtaken => return self.lost = Some(Arc::from(ClaimsError::NotOwner.to_string())),
            RunStand::InDoubt(reason) => return self.lost = Some(Arc::from(reason)),
        }
        let conflicts = self.conflicts(ended.report.conflicts);
        let mut verdicts = Vec::with_capacity(offsets.len());
        let mut failed = Vec::new();
        let mut outputs = ended.report.outputs.into_iter();
        let mut outcomes = ended.report.outcomes.into_iter();
        for offset in offsets {
            if left_out.contains(&offset) {
                verdicts.push(Verdict::NotStarted);
                continue;
            }
            // A runner that answers less than it was given is found out by the lanes.
            let Some(outcome) = outcomes.next() else { break };
            let records = outputs.next().unwrap_or_default();
            verdicts.push(match outcome {
                Outcome::Done => {
                    self.hold(offset, records);
                    Verdict::Done
                }
                Outcome::NotStarted => Verdict::NotStarted,
                Outcome::Failed { class, reason, after_ms } => {
                    failed.push(offset);
                    self.failed(offset, class, reason);
                    Verdict::Failed { class, after_ms }
                }
            });
        }
        let spent_us = u64::try_from(ended.spent.as_micros()).unwrap_or(u64::MAX);
        let mut actions = Vec::new();
        let input = Input::RunEnded { run: ended.run, verdicts, spent_us, conflicts };
        self.lanes.step(self.now_ms(), input, &mut actions);
        failed.retain(|offset| !is_last_step_of(&actions, *offset));
        self.shared.tally.add(Count::Retried, failed.len() as u64);
        self.carry_out(actions);
    }

    /// Of conflicts the handler's slots have to hear first. Answers those that shorter runs are to help.
    fn conflicts(&self, conflicts: u32) -> u32 {
        if let Some(meters) = &self.meters.claims {
            meters.conflicts.increment(u64::from(conflicts));
        }
        if conflicts == 0 {
            self.shared.slots.note_clean();
            return 0;
        }
        if self.shared.slots.note_conflict() { 0 } else { conflicts }
    }

    fn failed(&mut self, offset: i64, class: FailureClass, reason: String) {
        tracing::warn!(
            handler = self.shared.options.name,
            source = %self.partition,
            offset,
            class = class.name(),
            reason,
            "an attempt failed"
        );
        self.meters.failed.increment(1);
        self.held.note_failure(offset, class, reason);
    }

    /// Says once of each run that is out for too long which keys it holds up.
    pub(super) fn watch_runs(&mut self) {
        if self.out.look_at().is_none_or(|look_at| Instant::now() < look_at) {
            return;
        }
        self.out.looked_at = Some(Instant::now());
        let stuck_after = self.shared.options.stuck_after;
        for (id, run) in &mut self.out.runs {
            let out_for = run.begun.elapsed();
            if run.told || out_for < stuck_after {
                continue;
            }
            run.told = true;
            self.meters.stuck_runs.increment(1);
            let keys = run.offsets.iter().filter_map(|offset| self.held.key(*offset));
            tracing::error!(
                handler = self.shared.options.name,
                source = %self.partition,
                run = id.0,
                out_for_ms = out_for.as_millis(),
                events = run.offsets.len(),
                first_offset = run.offsets.first(),
                keys = ?keys.take(KEYS_TOLD_MAX).collect::<Vec<_>>(),
                "a run does not come back; its keys wait"
            );
        }
    }
}

/// Whether no other attempt follows by itself.
fn is_last_step_of(actions: &[Action], offset: i64) -> bool {
    actions.iter().any(|action| match action {
        Action::Bury { offset: last, .. } | Action::Pause { offset: last } => *last == offset,
        _ => false,
    })
}
