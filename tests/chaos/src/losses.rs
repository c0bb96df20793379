//! What the hosts say of partitions that they lost: read from their logs. It excuses a repeat only in the
//! wake of a fault, and a loss without a fault is wrong in itself.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use crate::fleet::INPUT;

/// What a host says when the group took partitions without asking, and when it gave one or several up itself
/// because no commit was acknowledged for as long as a session lasts.
const SAYS: [&str; 2] = ["lost", "no commit was acknowledged"];

/// A host lost a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// The number of its process.
    pub host: u32,
    /// The partition of the input; none where it is one of the retry topic, of which nothing is compared.
    pub partition: Option<i32>,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
}

/// What the log of this host says.
///
/// # Errors
/// When the log cannot be read.
pub fn of_log(host: u32, log: &Path) -> Result<Vec<Loss>> {
    let text = std::fs::read_to_string(log).with_context(|| log.display().to_string())?;
    Ok(text.lines().filter_map(|line| of_line(host, line)).flatten().collect())
}

fn of_line(host: u32, line: &str) -> Option<Vec<Loss>> {
    // Most lines are about something else and are not worth decoding.
    if !SAYS.iter().any(|says| line.contains(says)) {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let message = line.pointer("/fields/message")?.as_str()?;
    let [lost, expired] = SAYS;
    if message != lost && !message.starts_with(expired) {
        return None;
    }
    let at_ms = milliseconds(line.get("timestamp")?.as_str()?)?;
    let named = line.pointer("/fields/partitions").or_else(|| line.pointer("/fields/source"))?;
    let partitions = named.as_str()?.split(' ');
    Some(partitions.map(|named| Loss { host, partition: partition(named), at_ms }).collect())
}

/// `chaos-input[7]`; other topics are none.
pub(crate) fn partition(name: &str) -> Option<i32> {
    name.strip_prefix(INPUT)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// `2026-11-22T01:46:40.516116Z`, in milliseconds since the epoch.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Counted in years that begin with March, so that the day of a leap year is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let since_1970 = days.checked_sub(719_468)?;
    let seconds = since_1970 * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read() {
        assert_eq!(milliseconds("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(milliseconds("2000-02-29T12:00:00.250000Z"), Some(951_825_600_250));
        assert_eq!(milliseconds("2026-11-22T01:46:40.516116Z"), Some(1_795_312_000_516));
        assert_eq!(milliseconds("2026"), None);
    }

    #[test]
    fn only_losses_are_read() {
        let line = |message: &str| {
            format!(
                r#"{{"timestamp":"1970-01-01T00:00:01.000000Z","fields":{{"message":"{message}","partitions":"chaos-input[7] chaos-input.witness.retry[1] chaos-input[12]"}}}}"#
            )
        };
        let lost = Some(vec![
            Loss { host: 3, partition: Some(7), at_ms: 1_000 },
            Loss { host: 3, partition: None, at_ms: 1_000 },
            Loss { host: 3, partition: Some(12), at_ms: 1_000 },
        ]);
        assert_eq!(of_line(3, &line("lost")), lost);
        assert_eq!(of_line(3, &line("no commit was acknowledged within the session time-out: all is")), lost);
        assert_eq!(of_line(3, &line("revoked")), None);
        let one = line("no commit was acknowledged for as long as it must").replace("partitions", "source");
        assert_eq!(of_line(3, &one), lost);
        assert_eq!(of_line(3, "lost"), None);
    }
}
