//! Order by key, nothing lost and nothing twice, judged by what a handler wrote down as it saw its events.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::broker::Stored;
use crate::sqlite::{Database, column};

/// A lane: topic, partition and key.
type Lane = (String, i32, String);

/// Every so many offsets the recorder asks for a second attempt, and at which of them.
const RETRIED: (i64, i64) = (97, 13);

/// Compares what the recorder's rows say with the topics that it reads: of each key its offsets, in their
/// order, each once. It does not matter how often a host was killed meanwhile.
///
/// # Errors
/// The first key whose events came in another order, twice, or not at all.
pub fn check(file: &Path, topics: &[(&str, &[Stored])]) -> Result<()> {
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
        lane_holds(offsets, seen).with_context(|| format!("{lane:?}"))?;
    }
    ensure!(seen.len() == wanted.len(), "{} keys were seen, {} are in Kafka", seen.len(), wanted.len());
    Ok(())
}

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

/// Whether what was seen of one key is its offsets, in order and each once.
fn lane_holds(offsets: &[i64], seen: &[i64]) -> Result<()> {
    let differs = offsets.iter().zip(seen).position(|(wanted, seen)| wanted != seen);
    if let Some(row) = differs {
        bail!("row {row} is of offset {:?}, where {:?} had to come", seen.get(row), offsets.get(row));
    }
    ensure!(seen.len() == offsets.len(), "{} events were seen, {} are there", seen.len(), offsets.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::lane_holds;

    #[test]
    fn order_is_judged() {
        let offsets = [3, 5, 8, 9];
        lane_holds(&offsets, &[3, 5, 8, 9]).unwrap();
        for seen in
            [&[3, 5, 5, 8, 9][..], &[3, 8, 5, 9], &[3, 5, 8], &[3, 5, 9], &[3, 5, 8, 9, 9], &[3, 5, 7, 8, 9]]
        {
            assert!(lane_holds(&offsets, seen).is_err(), "{seen:?}");
        }
    }
}
