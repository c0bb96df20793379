//! Handlers in cuts: which of a seed's there are, what befalls their records, and how the model's records say
//! whose they are.

use bytes::Bytes;
use keylane_engine::OutgoingRecord;

use crate::database::{Row, What};
use crate::draw::Draw;
use crate::plan::{GroupPlan, Plan};
use crate::trace::Place;

/// What stands in a record of a dead letter in the place of an output's number.
const LETTER: u32 = u32::MAX;
/// Bytes of a record that says whose it is: a partition, an offset, the number of an output.
const WORDS: [usize; 2] = [4, 12];
/// How long a topic is closed at a time, or open.
const CLOSED_FOR_MS: u64 = 1_500;

/// One handler in cuts.
#[derive(Debug, Clone)]
pub struct CutPlan {
    /// The time between two cuts.
    pub every_ms: u64,
    /// A transaction of which the broker hears nothing for so long is ended.
    pub limit_ms: u64,
    /// From so many records on a cut takes no further partition.
    pub records_max: usize,
    /// The most outputs of an event.
    pub outputs_max: u64,
    /// How long owners' answers may lie before they are looked at.
    pub look_ms: u64,
    /// How long a revoke waits for the last cut.
    pub last_ms: u64,
    /// What producers ask that takes about as long as a transaction may, in permille.
    pub slow_permille: u64,
    /// Commits of transactions of which nobody ever hears, whether they are carried out or not, in permille.
    pub unheard_permille: u64,
    /// Events with an output that no broker ever takes, in permille.
    pub refused_permille: u64,
    /// How much of the time a topic takes nothing, in permille.
    pub closed_permille: u64,
}

/// Why a record is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No broker ever takes it.
    Record,
    /// Its topic is not there.
    Topic,
    /// Its partition takes nothing for now.
    Silence,
}

impl CutPlan {
    /// Which of a seed's handlers are in cuts: of those without a database. Drawn apart from the rest, which so
    /// stays what it is.
    pub fn of_handlers(seed: u64, beside: &[bool], group: &GroupPlan) -> Vec<Option<Self>> {
        let mut draw = Draw::of(&[seed, 15]);
        let mut closings = Draw::of(&[seed, 18]);
        let share = draw.pick(&[0, 500, 1_000]).unwrap();
        let mut one = |draw: &mut Draw| Self {
            closed_permille: closings.pick(&[0, 0, 100, 300]).unwrap(),
            ..Self::draw(draw, group)
        };
        let of_one = |beside: &bool| (!beside && draw.permille(share)).then(|| one(&mut draw));
        beside.iter().map(of_one).collect()
    }

    fn draw(draw: &mut Draw, group: &GroupPlan) -> Self {
        Self {
            every_ms: draw.between(2, 10) * 10,
            limit_ms: group.session_ms / draw.pick(&[2, 4]).unwrap(),
            records_max: draw.pick(&[3, 30, 1_000]).unwrap(),
            outputs_max: draw.between(1, 3),
            look_ms: draw.pick(&[0, 15, 60]).unwrap(),
            last_ms: group.session_ms / draw.pick(&[2, 10, 30]).unwrap(),
            slow_permille: draw.pick(&[0, 30, 150]).unwrap(),
            unheard_permille: draw.pick(&[0, 20, 100]).unwrap(),
            refused_permille: draw.pick(&[0, 20, 60]).unwrap(),
            closed_permille: 0,
        }
    }
}

/// Whether no broker ever takes what an event gives out.
pub fn is_refused(plan: &Plan, place: Place, offset: i64) -> bool {
    let Some(cuts) = &plan.cuts[usize::from(place.handler)] else { return false };
    let identity = [plan.seed, 16, u64::from(place.handler), place.partition as u64, offset as u64];
    Draw::of(&identity).permille(cuts.refused_permille)
}

/// The topic of a row: the outputs of one number have one, and dead letters another.
pub fn topic_of(row: &Row) -> u32 {
    match row.what {
        What::Output(number) => number,
        What::Letter => LETTER,
        What::Effect => unreachable!("an effect is a row of a database"),
    }
}

/// The topics of all that may come of an event.
pub fn topics_of(outputs: u32) -> impl Iterator<Item = u32> {
    (0..outputs).chain([LETTER])
}

/// The rows that no broker takes now, and why. Who sends meets the first silent one, and says no more of others.
pub fn refused(plan: &Plan, handler: u8, rows: &[Row], now_ms: u64, calm: bool) -> Vec<(Row, Fault)> {
    let never_taken = |row: &&Row| {
        let place = Place { handler, partition: row.partition };
        matches!(row.what, What::Output(_)) && is_refused(plan, place, row.offset)
    };
    let never: Vec<_> = rows.iter().filter(never_taken).map(|row| (*row, Fault::Record)).collect();
    if calm || !never.is_empty() {
        return never;
    }
    let closed = rows.iter().filter_map(|row| Some((*row, closed(plan, handler, topic_of(row), now_ms)?)));
    let (silent, closed): (Vec<_>, Vec<_>) = closed.partition(|(_, fault)| *fault == Fault::Silence);
    closed.into_iter().chain(silent.into_iter().take(1)).collect()
}

/// Whether a topic takes nothing at this time, and why.
fn closed(plan: &Plan, handler: u8, topic: u32, now_ms: u64) -> Option<Fault> {
    let cuts = plan.cuts[usize::from(handler)].as_ref()?;
    let identity = [plan.seed, 19, u64::from(handler), u64::from(topic), now_ms / CLOSED_FOR_MS];
    let mut draw = Draw::of(&identity);
    draw.permille(cuts.closed_permille)
        .then(|| if draw.permille(500) { Fault::Silence } else { Fault::Topic })
}

/// The record of a row.
pub fn record_of(row: Row) -> OutgoingRecord {
    let number = match row.what {
        What::Output(number) => number,
        What::Letter => LETTER,
        What::Effect => unreachable!("an effect is a row of a database"),
    };
    let mut value = row.partition.to_le_bytes().to_vec();
    value.extend(row.offset.to_le_bytes());
    value.extend(number.to_le_bytes());
    let topic = topic_of(&row).to_string();
    OutgoingRecord { topic, key: None, value: Some(Bytes::from(value)), headers: Vec::new() }
}

/// The row that a record is of.
pub fn row_of(record: &OutgoingRecord) -> Row {
    let value = record.value.as_ref().expect("the model's records have values");
    let [first, second] = WORDS;
    let partition = i32::from_le_bytes(value[..first].try_into().unwrap());
    let offset = i64::from_le_bytes(value[first..second].try_into().unwrap());
    let what = match u32::from_le_bytes(value[second..].try_into().unwrap()) {
        LETTER => What::Letter,
        number => What::Output(number),
    };
    Row { partition, offset, what }
}
