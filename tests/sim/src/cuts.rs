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
}

impl CutPlan {
    /// Which of a seed's handlers are in cuts: of those without a database. Drawn apart from the rest, which so
    /// stays what it is.
    pub fn of_handlers(seed: u64, beside: &[bool], group: &GroupPlan) -> Vec<Option<Self>> {
        let mut draw = Draw::of(&[seed, 15]);
        let share = draw.pick(&[0, 500, 1_000]).unwrap();
        let of_one = |beside: &bool| (!beside && draw.permille(share)).then(|| Self::draw(&mut draw, group));
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
        }
    }
}

/// Whether no broker ever takes what an event gives out.
pub fn is_refused(plan: &Plan, place: Place, offset: i64) -> bool {
    let Some(cuts) = &plan.cuts[usize::from(place.handler)] else { return false };
    let identity = [plan.seed, 16, u64::from(place.handler), place.partition as u64, offset as u64];
    Draw::of(&identity).permille(cuts.refused_permille)
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
    let topic = if row.what == What::Letter { "letters" } else { "outputs" }.to_owned();
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
