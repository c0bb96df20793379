//! What waits in an outbox, as people and as programs read it.

use keylane_effects::{ListedRow, OutboxCounts, OutboxKind, Parked};
use serde::Serialize;

use crate::print::{Column, columns, grouped};

/// Characters of a key or an error that are shown; `--json` has all.
const CHARACTERS: usize = 60;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    id: i64,
    kind: &'static str,
    /// Where it goes: a topic, or a sender.
    topic: String,
    /// As text; in hexadecimal digits behind `0x` where it is none.
    key: Option<String>,
    value_bytes: i64,
    handler: String,
    event_topic: String,
    event_partition: i32,
    event_offset: i64,
    ordinal: i32,
    state: &'static str,
    attempts: u32,
    next_try_in_ms: Option<i64>,
    age_ms: i64,
    last_error: Option<String>,
}

impl Shown {
    pub(super) fn of(listed: &ListedRow) -> Self {
        let row = &listed.row;
        Self {
            id: listed.id,
            kind: match row.kind {
                OutboxKind::Record => "record",
                OutboxKind::Mail => "mail",
            },
            topic: row.topic.clone(),
            key: row.key.as_deref().map(bytes),
            value_bytes: listed.value_bytes,
            handler: listed.handler.clone(),
            event_topic: listed.event_topic.clone(),
            event_partition: listed.event_partition,
            event_offset: row.event_offset,
            ordinal: row.ordinal,
            state: match listed.parked {
                Parked::Leads | Parked::No => "ready",
                Parked::Waits => "refused",
                Parked::Behind => "behind a refused one",
            },
            attempts: listed.attempts,
            next_try_in_ms: listed.wait_ms,
            age_ms: listed.age_ms,
            last_error: listed.last_error.clone(),
        }
    }

    fn row(&self) -> [String; 9] {
        let nothing = || "-".to_owned();
        [
            self.id.to_string(),
            self.kind.to_owned(),
            plain(&self.topic),
            self.key.as_deref().map_or_else(nothing, plain),
            format!("{}[{}] {}", plain(&self.event_topic), self.event_partition, self.event_offset),
            seconds(self.age_ms),
            match self.next_try_in_ms {
                Some(ms) => format!("{}, next try in {}", self.state, seconds(ms)),
                None => self.state.to_owned(),
            },
            self.attempts.to_string(),
            self.last_error.as_deref().map_or_else(nothing, plain),
        ]
    }
}

/// The outbox of a handler, for people.
pub(super) fn list(handler: &str, counts: &OutboxCounts, rows: &[Shown]) -> String {
    use Column::{Figures, Words};
    let OutboxCounts { records, mails, parked, oldest_ms } = *counts;
    if records + mails == 0 {
        return format!("{handler}: nothing waits");
    }
    let mut text = format!(
        "{handler}: {}, {}; held up by a refusal: {}; the oldest waits for {}",
        several(records, "record"),
        several(mails, "mail"),
        grouped(parked),
        seconds(oldest_ms)
    );
    if !rows.is_empty() {
        let head = [
            ("id", Words),
            ("kind", Words),
            ("to", Words),
            ("key", Words),
            ("made by the event", Words),
            ("age", Figures),
            ("state", Words),
            ("attempts", Figures),
            ("last error", Words),
        ];
        text.push_str("\n\n");
        text.push_str(&columns(head, rows.iter().map(Shown::row)));
    }
    text
}

/// The same, for programs.
///
/// # Errors
/// Never: there is nothing in it that JSON cannot say.
pub(super) fn json(counts: &OutboxCounts, rows: &[Shown]) -> serde_json::Result<String> {
    let OutboxCounts { records, mails, parked, oldest_ms } = *counts;
    let all = serde_json::json!({
        "records": records, "mails": mails, "parked": parked, "oldest_ms": oldest_ms, "rows": rows,
    });
    serde_json::to_string_pretty(&all)
}

fn several(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// Text as it is, anything else in hexadecimal digits.
fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().fold("0x".to_owned(), |digits, byte| digits + &format!("{byte:02x}")),
    }
}

/// One line without what could move a terminal's cursor, and not too long.
fn plain(text: &str) -> String {
    let mut shown: String =
        text.chars().take(CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

fn seconds(ms: i64) -> String {
    let ms = u64::try_from(ms).unwrap_or_default();
    format!("{}.{} s", grouped(ms / 1_000), ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use keylane_effects::OutboxRow;

    use super::*;

    fn listed(key: &[u8], parked: Parked, error: Option<&str>) -> ListedRow {
        ListedRow {
            id: 1_742,
            handler: "accounting".to_owned(),
            event_topic: "tasks".to_owned(),
            event_partition: 3,
            row: OutboxRow {
                event_offset: 9_000,
                ordinal: 1,
                kind: OutboxKind::Record,
                topic: "payouts".to_owned(),
                key: Some(key.to_vec()),
                value: None,
                headers: Vec::new(),
            },
            value_bytes: 200,
            attempts: 2,
            last_error: error.map(str::to_owned),
            parked,
            wait_ms: error.map(|_| 1_250),
            age_ms: 61_900,
        }
    }

    #[test]
    fn an_empty_outbox_is_one_line() {
        assert_eq!(list("accounting", &OutboxCounts::default(), &[]), "accounting: nothing waits");
    }

    #[test]
    fn rows_show_where_they_go_who_made_them_and_what_holds_them_up() {
        let counts = OutboxCounts { records: 1_200, mails: 3, parked: 2, oldest_ms: 61_900 };
        let rows = [
            Shown::of(&listed(b"worker-7", Parked::Waits, Some("too\nlarge"))),
            Shown::of(&listed(&[0xff, 0x01], Parked::Behind, None)),
        ];
        let text = list("accounting", &counts, &rows);
        assert!(text.starts_with(
            "accounting: 1,200 records, 3 mails; held up by a refusal: 2; the oldest waits for 61.9 s\n"
        ));
        for said in
            ["1742", "payouts", "worker-7", "tasks[3] 9000", "refused, next try in 1.2 s", "too large"]
        {
            assert!(text.contains(said), "{said} in {text}");
        }
        assert!(text.contains("0xff01") && text.contains("behind a refused one"), "{text}");
    }

    #[test]
    fn json_has_all_of_it() {
        let long = "x".repeat(500);
        let rows = [Shown::of(&listed(b"k", Parked::Waits, Some(&long)))];
        let json = json(&OutboxCounts { records: 1, ..OutboxCounts::default() }, &rows).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["rows"][0]["last_error"], long);
        assert_eq!((&read["records"], &read["rows"][0]["event_offset"]), (&1.into(), &9_000.into()));
    }
}
