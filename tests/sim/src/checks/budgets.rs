//! Every buffer keeps its bound: runs at once, events in a run, records and bytes of a partition, bytes of a
//! host, and the length of a commit's payload.

use std::collections::BTreeMap;

use crate::coordinator::METADATA_UNITS_MAX;
use crate::cuts::CutPlan;
use crate::plan::Plan;
use crate::story::{Breach, Story};
use crate::trace::{How, Note};

/// More than one event of the model weighs, in bytes.
const EVENT_BYTES: usize = 500;
/// More than one record of the model that waits for its cut weighs, in bytes.
const RECORD_BYTES: usize = 200;

pub fn check(story: &Story) -> Result<(), Breach> {
    let plan = &story.plan;
    let records_max = plan.limits.records + plan.batch;
    let mut runs: BTreeMap<(u8, u8), usize> = BTreeMap::new();
    let mut held: BTreeMap<u64, BTreeMap<i64, usize>> = BTreeMap::new();
    for (at, entry) in story.walk() {
        match &entry.note {
            Note::Crashed => runs.retain(|(host, _), _| *host != entry.host),
            Note::RunBegan { place, events, .. } => {
                let out = runs.entry((entry.host, place.handler)).or_default();
                *out += 1;
                if *out > plan.slots || *events > plan.policy.run_events_max {
                    let what = format!("{place}: {out} runs of {} slots, {events} events in one", plan.slots);
                    return Breach::at(at, what);
                }
            }
            Note::RunGone { place, .. } => *runs.entry((entry.host, place.handler)).or_default() -= 1,
            Note::Delivered { place, number, offsets, weights, .. } => {
                let held = held.entry(*number).or_default();
                let wanted =
                    |offset: &i64| story.record(*place, *offset).is_some_and(|one| story.is_handled(one));
                let batch = offsets.iter().copied().zip(weights.iter().copied());
                held.extend(batch.filter(|(offset, _)| wanted(offset)));
                let (records, bytes) = (held.len(), held.values().sum::<usize>());
                let bytes_max = plan.limits.bytes + weights.iter().sum::<usize>();
                let is_over = records > records_max || bytes > bytes_max;
                // What had ended before ends when it is taken in, which is not seen here.
                if is_over && !is_restored(story, *number) {
                    let what = format!(
                        "{place}: {records} records of {bytes} bytes are held, at most {records_max} of {bytes_max}"
                    );
                    return Breach::at(at, what);
                }
            }
            Note::Ended { number, offset, how: How::Done, .. }
            | Note::LetterAcked { number, offset, .. }
            | Note::SkipAsked { number, offset, .. } => {
                held.entry(*number).or_default().remove(offset);
            }
            Note::Submitted { place, payload, .. } => {
                let units = payload.encode_utf16().count();
                if units > METADATA_UNITS_MAX {
                    return Breach::at(at, format!("{place}: a payload of {units} units"));
                }
            }
            _ => {}
        }
    }
    bytes(story)
}

fn is_restored(story: &Story, assignment: u64) -> bool {
    story.entries.iter().any(|entry| {
        matches!(&entry.note, Note::Taken { number, ended, .. } if *number == assignment && !ended.is_empty())
    })
}

fn bytes(story: &Story) -> Result<(), Breach> {
    let plan = &story.plan;
    let places = plan.log.partitions as usize * usize::from(plan.handlers);
    let most = plan.host_bytes + places * (plan.floor.bytes + plan.batch * EVENT_BYTES) + outgoing(plan);
    match story.ending.remains.iter().find(|remains| remains.bytes_seen > most) {
        None => Ok(()),
        Some(remains) => Breach::in_the_end(format!("at most {most} bytes of events: {remains:?}")),
    }
}

/// What waits for its cut beside the host's budget: of each partition a floor, what the runs that are out then give,
/// and the letters of what is in the inbox.
fn outgoing(plan: &Plan) -> usize {
    let letters = plan.limits.records + plan.batch;
    let run = plan.slots * plan.policy.run_events_max;
    let of_one = |cuts: &CutPlan| {
        let outputs = run * usize::try_from(cuts.outputs_max).unwrap_or(usize::MAX);
        plan.floor.bytes + (outputs + letters) * RECORD_BYTES
    };
    plan.log.partitions as usize * plan.cuts.iter().flatten().map(of_one).sum::<usize>()
}
