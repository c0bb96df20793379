//! Order by key and nothing lost, judged by what a handler wrote down as it saw its events.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::broker::Stored;
use crate::sqlite::{Database, column};

/// A lane: topic, partition and key.
type Lane = (String, i32, String);

/// Every so many offsets the recorder asks for a second attempt, and at which of them.
const RETRIED: (i64, i64) = (97, 13);

/// Compares what the recorder saw with the topics it reads. A host that was killed may have its successors
/// repeat something, so a key's rows may go back once for each kill; each time they must go on without a
/// gap. Within one life nothing swaps and nothing is left out.
///
/// # Errors
/// The first key whose events came in another order, or not at all.
pub fn check(file: &Path, topics: &[(&str, &[Stored])], kills: usize) -> Result<Repeats> {
    let mut wanted: BTreeMap<Lane, Vec<i64>> = BTreeMap::new();
    for (topic, stored) in topics {
        for Stored { partition, offset, record } in *stored {
            wanted.entry(lane(topic, *partition, record.key.as_deref())).or_default().push(*offset);
        }
    }
    let seen = read(file)?;
    for (lane, offsets) in &mut wanted {
        offsets.sort_unstable();
        let seen = seen.get(lane).with_context(|| format!("nothing of {lane:?} was seen"))?;
        lane_holds(offsets, seen, kills).with_context(|| format!("{lane:?}"))?;
    }
    ensure!(seen.len() == wanted.len(), "{} keys were seen, {} are in Kafka", seen.len(), wanted.len());
    let rows = |lanes: &BTreeMap<Lane, Vec<i64>>| lanes.values().map(Vec::len).sum::<usize>();
    Ok(Repeats(rows(&seen) - rows(&wanted)))
}

/// How many events were seen more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeats(pub usize);

/// Records without a key are each a lane of their own in the host; here they are one, and there is only one.
fn lane(topic: &str, partition: i32, key: Option<&str>) -> Lane {
    (topic.to_owned(), partition, key.unwrap_or("(no key)").to_owned())
}

fn read(file: &Path) -> Result<BTreeMap<Lane, Vec<i64>>> {
    let mut database = Database::open(file)?;
    let mut seen: BTreeMap<Lane, Vec<i64>> = BTreeMap::new();
    for row in &database.rows("SELECT * FROM seen ORDER BY n")? {
        let (offset, attempt): (i64, i64) = (column(row, "record_offset")?, column(row, "attempt")?);
        let first = if offset % RETRIED.0 == RETRIED.1 { 2 } else { 1 };
        ensure!(attempt == first, "offset {offset} was done at attempt {attempt}");
        let key: Option<Vec<u8>> = column(row, "record_key")?;
        let key = key.map(String::from_utf8).transpose()?;
        let topic: String = column(row, "topic")?;
        seen.entry(lane(&topic, column(row, "partition")?, key.as_deref())).or_default().push(offset);
    }
    Ok(seen)
}

/// Whether what was seen of one key is its offsets in order, begun again at most so many times.
fn lane_holds(offsets: &[i64], seen: &[i64], kills: usize) -> Result<()> {
    let (mut next, mut reached, mut steps_back) = (0, 0, 0);
    for (row, offset) in seen.iter().enumerate() {
        let place = offsets.binary_search(offset).ok();
        let place = place.with_context(|| format!("offset {offset} is of another key"))?;
        if place != next {
            let wanted = offsets.get(next);
            ensure!(place < next, "row {row} is offset {offset} before the turn of {wanted:?}");
            steps_back += 1;
        }
        next = place + 1;
        reached = reached.max(next);
    }
    ensure!(steps_back <= kills, "{steps_back} steps back, {kills} kills");
    ensure!(
        reached == offsets.len() && next == reached,
        "{reached} of {} were seen, {next} last",
        offsets.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::lane_holds;

    #[test]
    fn order_is_judged() {
        let offsets = [3, 5, 8, 9];
        lane_holds(&offsets, &[3, 5, 8, 9], 0).unwrap();
        lane_holds(&offsets, &[3, 5, 8, 5, 8, 9], 1).unwrap();
        lane_holds(&offsets, &[3, 3, 5, 8, 9], 1).unwrap();
        for (seen, kills) in [
            (&[3, 5, 8, 5, 8, 9][..], 0),
            (&[3, 8, 5, 9], 9),
            (&[3, 5, 8], 9),
            (&[3, 5, 9], 9),
            (&[3, 5, 8, 9, 5], 9),
            (&[3, 5, 7, 8, 9], 9),
        ] {
            assert!(lane_holds(&offsets, seen, kills).is_err(), "{seen:?}");
        }
    }
}
