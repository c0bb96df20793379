//! The model of an operator: looks at how partitions stand, resumes and skips. In the storm at random, and
//! when the world is calm until nothing waits for an operator any more.

use std::sync::Arc;

use keylane_engine::{Control, PartitionStatus};

use crate::cuts::is_refused;
use crate::draw::Draw;
use crate::process::Process;
use crate::trace::{Note, Place};

/// What an operator sets out to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Resume,
    Skip,
    /// Whatever it takes to get everything going.
    Heal,
}

/// Looks at the partitions of one host and does what is wished.
pub async fn operate(process: Arc<Process>, mut draw: Draw, wish: Wish) {
    for (place, number, control) in process.controls() {
        let Ok(status) = control.status().await else { continue };
        look(&process, &status);
        let round = Round { process: &process, place, number, control: &control };
        match wish {
            Wish::Resume if draw.permille(500) => round.resume(None).await,
            Wish::Resume => round.resume(any_head(&mut draw, &status)).await,
            Wish::Skip => {
                let head = any_head(&mut draw, &status).unwrap_or(status.watermark);
                round.skip(head).await;
            }
            Wish::Heal => round.heal(&status).await,
        }
    }
}

fn any_head(draw: &mut Draw, status: &PartitionStatus) -> Option<i64> {
    let heads: Vec<i64> = status.waiting.iter().map(|lane| lane.offset).collect();
    draw.pick(&heads)
}

fn look(process: &Process, status: &PartitionStatus) {
    for lane in &status.waiting {
        process.saw(match lane.state.as_str() {
            "parked" => "lane parked",
            "paused" => "lane paused",
            _ => "lane burying",
        });
    }
    if let Some(why) = &status.halted {
        process.saw(if why.contains("latest") { "halted by a flood" } else { "halted by an event" });
    }
}

struct Round<'a> {
    process: &'a Process,
    place: Place,
    number: u64,
    control: &'a Control,
}

impl Round<'_> {
    async fn resume(&self, offset: Option<i64>) {
        let Self { place, number, .. } = *self;
        self.process.note(Note::Resumed { place, number, offset });
        match self.control.resume(offset).await {
            Ok(()) => self.process.saw("operator resumed"),
            Err(_) => self.process.saw("operator refused"),
        }
    }

    async fn skip(&self, offset: i64) {
        let Self { place, number, .. } = *self;
        self.process.note(Note::SkipAsked { place, number, offset });
        match self.control.skip(offset).await {
            Ok(()) => self.process.saw("operator skipped"),
            Err(_) => self.process.saw("operator refused"),
        }
    }

    /// What no attempt can handle is given up, the rest goes on.
    async fn heal(&self, status: &PartitionStatus) {
        for lane in status.waiting.iter().filter(|lane| lane.state == "paused") {
            let record = self.process.topic.record(self.place.partition, lane.offset);
            let never = is_refused(&self.process.plan, self.place, lane.offset);
            if never || record.is_none_or(|record| record.poison) {
                self.skip(lane.offset).await;
            } else {
                self.resume(Some(lane.offset)).await;
            }
        }
        if status.halted.is_some() {
            self.resume(None).await;
        }
    }
}
