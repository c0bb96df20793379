//! A letter as it is shown: texts where bytes are text, hexadecimal digits where they are not, and no more of
//! either than was asked for.

use bytes::Bytes;
use keylane_engine::TimestampKind;
use keylane_kafka::Letter;
use serde::Serialize;

/// Bytes, shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Content {
    /// They are printable text.
    Text(String),
    /// They are not, or nobody wants to see them so.
    Hex(String),
}

/// Key, value or header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownBytes {
    /// How many there are.
    pub(super) bytes: usize,
    /// Whether fewer are shown.
    pub(super) cut: bool,
    #[serde(flatten)]
    pub(super) content: Content,
}

/// A header of the event itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownHeader {
    pub(super) name: String,
    pub(super) value: Option<ShownBytes>,
}

/// Where the event first came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownOrigin {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) timestamp_type: Option<&'static str>,
}

/// A letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Shown {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) buried_ms: Option<i64>,
    pub(super) origin: Option<ShownOrigin>,
    pub(super) handler: Option<String>,
    pub(super) revision: Option<String>,
    pub(super) attempts: Option<u32>,
    pub(super) first_failure_ms: Option<i64>,
    pub(super) class: Option<String>,
    pub(super) error: Option<String>,
    pub(super) redrives: u32,
    pub(super) key: Option<ShownBytes>,
    pub(super) value: Option<ShownBytes>,
    pub(super) headers: Vec<ShownHeader>,
}

impl Shown {
    /// A letter with at most so many bytes of each part.
    pub(super) fn of(letter: &Letter, bytes_max: usize, hex: bool) -> Self {
        let story = letter.story();
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| shown(bytes, bytes_max, hex));
        let header = |header: &keylane_engine::Header| ShownHeader {
            name: header.name.clone(),
            value: part(&header.value),
        };
        Self {
            topic: letter.topic.clone(),
            partition: letter.partition,
            offset: letter.offset,
            buried_ms: letter.timestamp_ms,
            origin: story.origin.map(|origin| ShownOrigin {
                topic: origin.topic,
                partition: origin.partition,
                offset: origin.offset,
                timestamp_ms: origin.timestamp.map(|(at_ms, _)| at_ms),
                timestamp_type: origin.timestamp.and_then(|(_, kind)| kind).map(kind_name),
            }),
            handler: story.handler,
            revision: story.revision,
            attempts: story.attempts,
            first_failure_ms: story.first_failure_ms,
            class: story.class,
            error: story.error,
            redrives: story.redrives,
            key: part(&letter.key),
            value: part(&letter.value),
            headers: letter.headers.iter().map(header).collect(),
        }
    }
}

fn kind_name(kind: TimestampKind) -> &'static str {
    match kind {
        TimestampKind::CreateTime => "CreateTime",
        TimestampKind::LogAppendTime => "LogAppendTime",
    }
}

/// At most so many bytes. Text is cut between two characters.
fn shown(bytes: &[u8], bytes_max: usize, hex: bool) -> ShownBytes {
    let text = std::str::from_utf8(bytes).ok().filter(|text| !hex && text.chars().all(is_printable));
    let (content, kept) = match text {
        Some(text) => {
            let end = text.floor_char_boundary(bytes_max);
            (Content::Text(text.get(..end).unwrap_or(text).to_owned()), end)
        }
        None => {
            let end = bytes.len().min(bytes_max);
            let digits = bytes.iter().take(end).map(|byte| format!("{byte:02x}")).collect();
            (Content::Hex(digits), end)
        }
    };
    ShownBytes { bytes: bytes.len(), cut: kept < bytes.len(), content }
}

/// Whether a character may be written to a terminal as it is.
fn is_printable(c: char) -> bool {
    !c.is_control() || matches!(c, '\n' | '\t')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_shown_and_never_more_than_asked_for(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..40),
            ],
            bytes_max in 0_usize..50,
            hex: bool,
        ) {
            let ShownBytes { bytes: whole, cut, content } = shown(&bytes, bytes_max, hex);
            let kept = match content {
                Content::Text(text) => {
                    prop_assert!(!hex && bytes.starts_with(text.as_bytes()) && text.chars().all(is_printable));
                    text.len()
                }
                Content::Hex(digits) => digits.len() / 2,
            };
            prop_assert_eq!((whole, cut), (bytes.len(), kept < bytes.len()));
            prop_assert!(kept <= bytes_max && (kept == whole || kept + 4 > bytes_max));
        }
    }

    #[test]
    fn text_is_shown_as_text_and_anything_else_as_digits() {
        let content = |bytes: &[u8], hex| shown(bytes, 100, hex).content;
        assert_eq!(content("zwölf\n".as_bytes(), false), Content::Text("zwölf\n".to_owned()));
        assert_eq!(content(b"ab", true), Content::Hex("6162".to_owned()));
        assert_eq!(content(b"\xff\x00", false), Content::Hex("ff00".to_owned()));
        assert_eq!(content(b"\x1b[2J", false), Content::Hex("1b5b324a".to_owned()));
        assert_eq!(content(b"", false), Content::Text(String::new()));
    }

    #[test]
    fn no_more_is_shown_than_asked_for() {
        let cut = shown("zwölf".as_bytes(), 3, false);
        assert_eq!(cut, ShownBytes { bytes: 6, cut: true, content: Content::Text("zw".to_owned()) });
        let cut = shown(b"\xff\x00\x01", 2, false);
        assert_eq!(cut, ShownBytes { bytes: 3, cut: true, content: Content::Hex("ff00".to_owned()) });
        assert!(!shown(b"ab", 2, false).cut);
    }
}
