//! What the owner publishes: progress for the committer, how it stands for the poller, and gauges.

use std::sync::Arc;
use std::time::Duration;

use keylane_lanes::GapSet;
use tokio::time::Instant;

use super::Owner;
use crate::ending::Ownership;
use crate::payload::PAYLOAD_UNITS_HIGH;
use crate::ports::{DeadLetters, Runner};
use crate::progress::{Progress, ProgressMaker};

/// How often a progress with a gap is made: to encode a gap set costs more than to end an event.
const MAKE_EVERY: Duration = Duration::from_millis(100);

/// What the owner remembers of what it has published.
pub(super) struct Reporter {
    maker: ProgressMaker,
    /// Something has ended or been passed since the last progress was made.
    changed: bool,
    /// When a progress with a gap was made last.
    made_at: Option<Instant>,
    /// The length of the last payload.
    units: usize,
    /// Whether it tells less than has ended.
    truncated: bool,
    /// Where the restored gap set ends: below, the gap may not be empty though no event is held.
    restored_end: i64,
    /// The event that was last named as the one that blocks: said once.
    pub(super) told: Option<i64>,
    /// Why nothing more begins.
    halted: Option<Arc<str>>,
    /// What the last cut told of, or what the partition began with.
    cut: GapSet,
}

impl Reporter {
    pub(super) fn new(maker: ProgressMaker, restored: &GapSet) -> Self {
        let Progress { payload, truncated, .. } = maker.of(restored);
        Self {
            maker,
            changed: false,
            made_at: None,
            units: payload.len(),
            truncated,
            restored_end: restored.ended.last().map_or(restored.base, |range| range.end),
            told: None,
            halted: None,
            cut: restored.clone(),
        }
    }

    pub(super) fn changed(&mut self) {
        self.changed = true;
    }

    /// The progress of this gap set, for a cut: of as much of it as can be told, and of nothing less than the last
    /// one, since records are committed with it. Where not even that can be told beside the new watermark, it is
    /// the last one again, until more has ended.
    pub(super) fn cut(&mut self, gap: GapSet) -> Progress {
        let whole = self.maker.of(&gap);
        if !whole.truncated {
            self.cut = gap;
            return whole;
        }
        let Some((progress, told)) = self.maker.keeping(&gap, &self.cut) else {
            return Progress { truncated: true, ..self.maker.of(&self.cut) };
        };
        self.cut = told;
        progress
    }

    /// Whether the last cut tells of this event.
    pub(super) fn has_cut(&self, offset: i64) -> bool {
        let ended = &self.cut.ended;
        let before = ended.partition_point(|range| range.end <= offset);
        offset < self.cut.base || ended.get(before).is_some_and(|range| range.contains(&offset))
    }

    pub(super) fn halt(&mut self, reason: String) {
        self.halted = Some(reason.into());
    }

    /// Whether the payload leaves room for records from `next` on. What lies below the end of the restored
    /// gap set is nothing new: were it kept out, a partition whose restored payload is long would never
    /// get the events that make it shorter.
    pub(super) fn admits(&self, next: i64) -> bool {
        (self.units <= PAYLOAD_UNITS_HIGH && !self.truncated) || self.is_restored(next)
    }

    /// Whether `next` lies below the end of the restored gap set.
    pub(super) fn is_restored(&self, next: i64) -> bool {
        next < self.restored_end
    }

    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    pub(super) fn halted(&self) -> Option<&Arc<str>> {
        self.halted.as_ref()
    }

    /// When the next progress is made, if there is one to make.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.changed.then(|| self.made_at.map_or_else(Instant::now, |made_at| made_at + MAKE_EVERY))
    }
}

impl<R: Runner, D: DeadLetters> Owner<R, D> {
    /// Progress comes first: who sees that the owner has drained reads the final one.
    pub(super) fn report(&mut self) {
        self.make_progress();
        self.tell_if_stopped();
        self.publish_ownership();
        self.set_gauges();
    }

    /// At once where nothing above the watermark has ended or is told of, which costs nothing, and in a
    /// drain, which waits for it; else every [`MAKE_EVERY`].
    fn make_progress(&mut self) {
        if !self.reporter.changed {
            return;
        }
        let watermark = self.lanes.watermark();
        let has_gap = self.lanes.gap() > 0 || self.reporter.is_restored(watermark);
        let progress = if !has_gap || !self.reporter.maker.tells_gaps() {
            self.reporter.maker.without_gap(watermark)
        } else {
            let now = Instant::now();
            let made_at = self.reporter.made_at;
            let due = self.draining || made_at.is_none_or(|made_at| made_at + MAKE_EVERY <= now);
            if !due {
                return;
            }
            self.reporter.made_at = Some(now);
            self.reporter.maker.of(&self.lanes.gap_set())
        };
        self.reporter.changed = false;
        self.publish(progress);
    }

    fn publish(&mut self, progress: Progress) {
        self.reporter.units = progress.payload.len();
        self.reporter.truncated = progress.truncated;
        if progress.truncated {
            self.meters.payloads_truncated.increment(1);
        }
        self.intake.progress.send_if_modified(|published| {
            assert!(progress.offset >= published.offset, "the progress went back");
            let moved = *published != progress;
            *published = progress;
            moved
        });
    }

    fn publish_ownership(&mut self) {
        if self.lanes.halted().is_none() && self.reporter.halted.take().is_some() {
            tracing::info!(handler = self.shared.options.name, source = %self.partition, "the halted partition goes on");
        }
        let ownership = match &self.reporter.halted {
            _ if self.is_drained() => Ownership::Drained,
            _ if self.draining => Ownership::Draining,
            Some(reason) => Ownership::Halted { reason: reason.clone() },
            None => Ownership::Running,
        };
        self.intake.ownership.send_if_modified(|published| {
            let moved = *published != ownership;
            *published = ownership;
            moved
        });
    }

    /// Whether the partition is given up and nothing is out any more but maybe a prune that took too long: its
    /// progress is final.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.lanes.is_quiet() && self.is_pruned()
    }

    fn set_gauges(&self) {
        let lanes = self.lanes.counts();
        self.meters.watermark.set(self.lanes.watermark() as f64);
        self.meters.gap_records.set(self.lanes.gap() as f64);
        self.meters.gap_units.set(self.reporter.units as f64);
        self.meters.parked_lanes.set(lanes.parked as f64);
        self.meters.paused_lanes.set(lanes.paused as f64);
        self.meters.burying_lanes.set(lanes.burying as f64);
        if let Some(meters) = &self.meters.claims {
            meters.floor.set(self.pruner.floor() as f64);
            meters.above_floor.set(self.pruner.claims() as f64);
        }
        if let Some(meters) = &self.meters.cuts {
            let (records, bytes) = self.basket_size();
            meters.records.set(records as f64);
            meters.bytes.set(bytes as f64);
        }
        self.meters.runs.set(lanes.runs as f64);
        self.meters.halted.set(if self.reporter.halted.is_some() { 1.0 } else { 0.0 });
        self.meters.oldest_run.set(self.out.oldest().unwrap_or_default().as_secs_f64());
    }
}
