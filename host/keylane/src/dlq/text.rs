//! What `keylane dlq` prints: tables, letters, and the same as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use keylane_kafka::{PartitionLetters, RedriveReport};
use serde_json::json;

use super::shown::{Content, Shown, ShownBytes};
use crate::print::{Column, columns, grouped, table};

/// What stands for nothing.
const NOTHING: &str = "-";

/// How many letters there are.
pub(super) fn list(lists: &[PartitionLetters]) -> String {
    use Column::{Figures, Words};
    let head = [
        ("partition", Words),
        ("letters", Figures),
        ("redriven", Figures),
        ("waiting", Figures),
        ("waiting by class", Words),
    ];
    let rows = lists.iter().filter(|list| list.letters > 0).map(|list| {
        [
            format!("{}[{}]", list.topic, list.partition),
            grouped(list.letters),
            grouped(list.redriven),
            grouped(list.waiting),
            classes(&list.classes),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let sum = |of: fn(&PartitionLetters) -> u64| grouped(lists.iter().map(of).sum());
    let foreign: u64 = lists.iter().map(|list| list.foreign).sum();
    let mut parts = vec![match rows.is_empty() {
        true => "no letters".to_owned(),
        false => columns(head, rows),
    }];
    if lists.iter().any(|list| list.letters > 0) {
        parts.push(format!("{} letters, {} waiting", sum(|list| list.letters), sum(|list| list.waiting)));
    }
    if foreign > 0 {
        parts.push(format!("{} of those waiting are not letters of this handler", grouped(foreign)));
    }
    parts.join("\n")
}

fn classes(classes: &BTreeMap<String, u64>) -> String {
    let words: Vec<String> =
        classes.iter().map(|(class, count)| format!("{} {}", printable(class), grouped(*count))).collect();
    if words.is_empty() { NOTHING.to_owned() } else { words.join(", ") }
}

/// The same as JSON.
pub(super) fn list_json(lists: &[PartitionLetters]) -> String {
    let one = |list: &PartitionLetters| {
        json!({
            "topic": list.topic, "partition": list.partition, "letters": list.letters,
            "redriven": list.redriven, "waiting": list.waiting, "classes": list.classes,
            "foreign": list.foreign,
        })
    };
    format!("{:#}", lists.iter().map(one).collect::<serde_json::Value>())
}

/// What a redrive did, or would do.
pub(super) fn redrive(report: &RedriveReport, dry_run: bool) -> String {
    let verb = if dry_run { "to send" } else { "sent" };
    let rows =
        report.partitions.iter().filter(|row| row.sent + row.redriven + row.left_out + row.held_back > 0);
    let rows: Vec<_> = rows
        .map(|row| {
            let counts = [row.sent, row.redriven, row.left_out, row.held_back].map(grouped);
            let [sent, redriven, left_out, held_back] = counts;
            [format!("{}[{}]", row.topic, row.partition), sent, redriven, left_out, held_back]
        })
        .collect();
    let said = match (report.sent(), dry_run) {
        (0, _) => "nothing to redrive".to_owned(),
        (sent, true) => format!("{} letters would be redriven", grouped(sent)),
        (sent, false) => format!("{} letters redriven", grouped(sent)),
    };
    if rows.is_empty() {
        return said;
    }
    let head = ["partition", verb, "redriven before", "left out", "held back"];
    format!("{}\n{said}", table(head, rows))
}

/// The same as JSON.
pub(super) fn redrive_json(report: &RedriveReport, dry_run: bool) -> String {
    let partitions: Vec<_> = report
        .partitions
        .iter()
        .map(|row| {
            json!({
                "topic": row.topic, "partition": row.partition, "sent": row.sent, "redriven": row.redriven,
                "left_out": row.left_out, "held_back": row.held_back,
            })
        })
        .collect();
    let whole = json!({
        "dry_run": dry_run, "sent": report.sent(), "held_back": report.held_back(), "partitions": partitions,
    });
    format!("{whole:#}")
}

/// Letters for people.
pub(super) fn letters(letters: &[Shown]) -> String {
    if letters.is_empty() {
        return "no letters".to_owned();
    }
    letters.iter().map(letter).collect::<Vec<_>>().join("\n\n")
}

fn letter(letter: &Shown) -> String {
    let buried = letter.buried_ms.map_or(String::new(), |ms| format!(", buried {}", moment(ms)));
    let mut lines = vec![format!("{}[{}] offset {}{buried}", letter.topic, letter.partition, letter.offset)];
    let mut say = |what: &str, text: String| lines.push(format!("  {what:<10}{text}"));
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| NOTHING.to_owned(), printable);
    let origin = letter.origin.as_ref().map(|origin| {
        let made = origin.timestamp_ms.map_or(String::new(), |ms| format!(", made {}", moment(ms)));
        format!("{}[{}] offset {}{made}", printable(&origin.topic), origin.partition, origin.offset)
    });
    say("from", origin.unwrap_or_else(|| NOTHING.to_owned()));
    say("handler", format!("{}, revision {}", text(&letter.handler), text(&letter.revision)));
    let attempts = letter.attempts.map_or(NOTHING.to_owned(), |attempts| attempts.to_string());
    let first = letter.first_failure_ms.map_or(String::new(), |ms| format!(", first failed {}", moment(ms)));
    say("failed", format!("{} after {attempts} attempts{first}", text(&letter.class)));
    say("error", text(&letter.error));
    if letter.redrives > 0 {
        say("redriven", format!("{} times", letter.redrives));
    }
    say("key", bytes(letter.key.as_ref()));
    say("value", bytes(letter.value.as_ref()));
    for header in &letter.headers {
        lines.push(format!("  {}: {}", printable(&header.name), bytes(header.value.as_ref())));
    }
    lines.join("\n")
}

fn bytes(shown: Option<&ShownBytes>) -> String {
    let Some(shown) = shown else { return "(none)".to_owned() };
    let said = match &shown.content {
        Content::Text(text) if text.is_empty() => "(empty)".to_owned(),
        Content::Text(text) => text.clone(),
        Content::Hex(digits) => format!("0x{digits}"),
    };
    if shown.cut { format!("{said}... ({} bytes)", grouped(shown.bytes as u64)) } else { said }
}

/// Text that somebody else wrote, without what a terminal would act upon.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A moment as people write it, RFC 3339, to the second. Anybody may write any number into a header: what is
/// in no calendar is told as the number that it is.
fn moment(ms: i64) -> String {
    let to_the_second = Timestamp::from_second(ms.div_euclid(1_000));
    to_the_second.map_or_else(|_| format!("{ms} ms after 1970"), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use keylane_deployment::moment_ms;
    use keylane_kafka::PartitionRedrive;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        for written in
            ["1970-01-01T00:00:00Z", "2000-02-29T12:00:00Z", "2024-12-31T23:59:59Z", "2100-03-01T07:08:09Z"]
        {
            assert_eq!(moment(moment_ms(written).unwrap()), written);
        }
        assert_eq!(moment(-1), "1969-12-31T23:59:59Z");
        for ms in [i64::MIN, i64::MAX] {
            assert_eq!(moment(ms), format!("{ms} ms after 1970"));
        }
    }

    proptest! {
        #[test]
        fn any_moment_is_told_and_those_of_our_time_can_be_read(ms: i64, near in 0..4_102_444_800_000_i64) {
            prop_assert!(!moment(ms).is_empty());
            prop_assert_eq!(moment_ms(&moment(near)), Ok(near - near % 1_000));
        }

        #[test]
        fn nothing_that_a_terminal_acts_upon_is_printed(given: String) {
            prop_assert!(!printable(&given).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_list_counts_and_sums() {
        let list_of = |partition, letters, redriven, class: &str| PartitionLetters {
            topic: "tasks.h.dlq".to_owned(),
            partition,
            letters,
            redriven,
            waiting: letters - redriven,
            classes: BTreeMap::from([(class.to_owned(), letters - redriven)]),
            foreign: 0,
        };
        let lists =
            [list_of(0, 1_200, 200, "reject"), PartitionLetters::default(), list_of(2, 3, 0, "a\x1b")];
        let told = list(&lists);
        for part in ["tasks.h.dlq[0]", "1,200", "reject 1,000", "1,203 letters, 1,003 waiting"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains('\x1b'));
        assert_eq!(list(&[PartitionLetters::default()]), "no letters");
        let json: serde_json::Value = serde_json::from_str(&list_json(&lists)).unwrap();
        assert_eq!(json[0]["classes"]["reject"], 1_000);
    }

    #[test]
    fn a_redrive_says_what_it_did_and_what_stayed() {
        let row = PartitionRedrive {
            topic: "tasks.h.dlq".to_owned(),
            partition: 1,
            sent: 5,
            redriven: 4,
            left_out: 3,
            held_back: 2,
        };
        let report = RedriveReport { partitions: vec![row] };
        assert!(redrive(&report, true).ends_with("5 letters would be redriven"));
        assert!(redrive(&report, false).ends_with("5 letters redriven"));
        assert_eq!(redrive(&RedriveReport::default(), false), "nothing to redrive");
        let json: serde_json::Value = serde_json::from_str(&redrive_json(&report, false)).unwrap();
        assert_eq!((json["sent"].as_u64(), json["partitions"][0]["held_back"].as_u64()), (Some(5), Some(2)));
    }
}
