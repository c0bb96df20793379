//! The evidence as the rules need it: events, what was told of them, and their dead letters.

use std::collections::BTreeMap;

use crate::check::Verdict;
use crate::check::excuses::By;
use crate::evidence::{Evidence, Stored};
use crate::fate::Fate;

/// A partition of the input and an offset in it.
pub(crate) type Place = (i32, i64);

/// An event of the input.
pub(crate) struct Event<'a> {
    pub(crate) record: &'a Stored,
    pub(crate) fate: Fate,
}

impl Event<'_> {
    /// The number of its value.
    pub(crate) fn id(&self) -> Option<u64> {
        Fate::of(self.record.value.as_deref()?).map(|(id, _)| id)
    }
}

/// What one ending says of itself.
pub(crate) struct Ending<'a> {
    /// Of which event.
    pub(crate) place: Place,
    /// The record that says so; its time is the broker's.
    pub(crate) record: &'a Stored,
    /// The process that wrote it, if it is known.
    pub(crate) host: Option<u32>,
    /// What a handler said; nothing where it is a dead letter.
    pub(crate) told: Option<Told>,
}

impl Ending<'_> {
    /// Who told it and when, as the excuses need it.
    pub(crate) fn by(&self) -> By {
        By { host: self.host, partition: self.place.0, at_ms: self.record.at_ms }
    }
}

/// What a handler tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) attempt: u32,
    pub(crate) began_ms: u64,
    pub(crate) ended_ms: u64,
}

/// The case that is judged.
pub(crate) struct Case<'a> {
    pub(crate) evidence: &'a Evidence,
    pub(crate) events: BTreeMap<Place, Event<'a>>,
    /// All endings, by the brokers' time.
    pub(crate) endings: Vec<Ending<'a>>,
}

impl<'a> Case<'a> {
    /// Reads the evidence; what cannot be read is a finding.
    pub(crate) fn of(evidence: &'a Evidence, verdict: &mut Verdict) -> Self {
        let mut events = BTreeMap::new();
        for record in &evidence.input {
            match Fate::of(record.value.as_deref().unwrap_or_default()) {
                Some((_, fate)) => {
                    events.insert((record.partition, record.offset), Event { record, fate });
                }
                None => verdict.findings.push(format!("a value nobody wrote: {record:?}")),
            }
        }
        let mut endings = Vec::new();
        for record in &evidence.seen {
            match telling(record) {
                Some(ending) => endings.push(ending),
                None => verdict.findings.push(format!("no telling: {record:?}")),
            }
        }
        for record in &evidence.letters {
            match letter(record, evidence) {
                Some(ending) => endings.push(ending),
                None => verdict.findings.push(format!("a dead letter without its origin: {record:?}")),
            }
        }
        endings.sort_by_key(|ending| (ending.record.at_ms, ending.record.offset));
        verdict.tally.events = events.len();
        Self { evidence, events, endings }
    }

    /// The endings of each event, each event's by the brokers' time.
    pub(crate) fn by_event(&self) -> BTreeMap<Place, Vec<&Ending<'a>>> {
        let mut by_event: BTreeMap<Place, Vec<_>> = BTreeMap::new();
        for ending in &self.endings {
            by_event.entry(ending.place).or_default().push(ending);
        }
        by_event
    }

    /// The events of each key of a partition, by offset. Those without a key are in no order.
    pub(crate) fn lanes(&self) -> BTreeMap<(i32, &'a [u8]), Vec<Place>> {
        let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (place, event) in &self.events {
            if let Some(key) = &event.record.key {
                lanes.entry((place.0, key.as_slice())).or_default().push(*place);
            }
        }
        lanes
    }
}

/// `HOST PARTITION OFFSET ATTEMPT BEGAN-MS ENDED-MS`
fn telling(record: &Stored) -> Option<Ending<'_>> {
    let text = std::str::from_utf8(record.value.as_deref()?).ok()?;
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    let host = u32::try_from(number()?).ok()?;
    let place = (i32::try_from(number()?).ok()?, i64::try_from(number()?).ok()?);
    let attempt = u32::try_from(number()?).ok()?;
    let told = Told { attempt, began_ms: number()?, ended_ms: number()? };
    Some(Ending { place, record, host: Some(host), told: Some(told) })
}

fn letter<'a>(record: &'a Stored, evidence: &Evidence) -> Option<Ending<'a>> {
    let text = |name| std::str::from_utf8(record.header(name)?).ok();
    let place =
        (text("keylane-origin-partition")?.parse().ok()?, text("keylane-origin-offset")?.parse().ok()?);
    let host = record.header("keylane-revision").and_then(|revision| evidence.revisions.get(revision));
    Some(Ending { place, record, host: host.copied(), told: None })
}
