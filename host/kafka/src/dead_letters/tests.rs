//! What letters say, what they keep, and that their headers do not grow.

use std::sync::Arc;

use bytes::Bytes;
use keylane_engine::{FailureClass, Timestamp, TimestampKind, TopicPartition};
use proptest::prelude::*;

use super::*;
use crate::admin::LETTER_HEADERS_BYTES;

fn options(profile: HeaderProfile) -> DeadLetterOptions {
    DeadLetterOptions { profile, ..DeadLetterOptions::new("accounting", "shop.accounting", "r7") }
}

fn letter(topic: &str, headers: Vec<Header>, reason: &str) -> DeadLetter {
    let event = Event {
        source: TopicPartition { topic: topic.into(), partition: 3 },
        offset: 41,
        timestamp: Some(Timestamp { at_ms: 1_700_000_000_000, kind: TimestampKind::CreateTime }),
        key: Some(Bytes::from_static(b"\xff\x00")),
        value: None,
        headers,
    };
    DeadLetter {
        event: Arc::new(event),
        attempts: 8,
        class: FailureClass::Trap,
        reason: reason.to_owned(),
        first_failure_ms: 1_700_000_000_500,
    }
}

fn own_headers() -> Vec<Header> {
    vec![
        Header { name: "a".to_owned(), value: None },
        Header { name: "a".to_owned(), value: Some(Bytes::new()) },
    ]
}

fn shown(headers: &[Header]) -> Vec<(&str, &[u8])> {
    headers.iter().map(|header| (header.name.as_str(), header.value.as_deref().unwrap())).collect()
}

const STORY: [(&str, &[u8]); 11] = [
    ("keylane-origin-topic", b"tasks"),
    ("keylane-origin-partition", b"3"),
    ("keylane-origin-offset", b"41"),
    ("keylane-origin-timestamp", b"1700000000000"),
    ("keylane-origin-timestamp-type", b"CreateTime"),
    ("keylane-handler", b"accounting"),
    ("keylane-revision", b"r7"),
    ("keylane-attempts", b"8"),
    ("keylane-first-failure", b"1700000000500"),
    ("keylane-error-class", b"trap"),
    ("keylane-error", b"unreachable"),
];

#[test]
fn a_letter_is_the_record_and_its_story() {
    let letter = letter("tasks", own_headers(), "unreachable");
    let record = letter_record(&letter, &options(HeaderProfile::Keylane));
    assert_eq!(record.topic, "tasks.accounting.dlq");
    assert_eq!((&record.key, &record.value), (&letter.event.key, &letter.event.value));
    let (original, added) = record.headers.split_at(2);
    assert_eq!(original, &letter.event.headers[..]);
    assert_eq!(shown(added), STORY);
}

#[test]
fn spring_reads_numbers_as_java_writes_them() {
    let record =
        letter_record(&letter("tasks", own_headers(), "unreachable"), &options(HeaderProfile::Spring));
    let added = shown(&record.headers[2..]);
    assert_eq!(added[..STORY.len()], STORY);
    assert_eq!(
        added[STORY.len()..],
        [
            ("kafka_dlt-original-topic", &b"tasks"[..]),
            ("kafka_dlt-original-partition", &[0, 0, 0, 3]),
            ("kafka_dlt-original-offset", &[0, 0, 0, 0, 0, 0, 0, 41]),
            ("kafka_dlt-original-timestamp", &[0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0]),
            ("kafka_dlt-original-timestamp-type", b"CreateTime"),
            ("kafka_dlt-original-consumer-group", b"shop.accounting"),
            ("kafka_dlt-exception-fqcn", b"keylane.failure.Trap"),
            ("kafka_dlt-exception-message", b"unreachable"),
        ]
    );
}

#[test]
fn connect_reads_texts() {
    let record =
        letter_record(&letter("tasks", own_headers(), "unreachable"), &options(HeaderProfile::Connect));
    let added = shown(&record.headers[2..]);
    assert_eq!(
        added[STORY.len()..],
        [
            ("__connect.errors.topic", &b"tasks"[..]),
            ("__connect.errors.partition", b"3"),
            ("__connect.errors.offset", b"41"),
            ("__connect.errors.connector.name", b"shop.accounting"),
            ("__connect.errors.task.id", b"0"),
            ("__connect.errors.stage", b"TASK_PUT"),
            ("__connect.errors.class.name", b"keylane.handler"),
            ("__connect.errors.exception.class.name", b"keylane.failure.Trap"),
            ("__connect.errors.exception.message", b"unreachable"),
        ]
    );
}

#[test]
fn a_named_topic_takes_the_letters_of_all() {
    let named = DeadLetterOptions { topic: Some("graveyard".to_owned()), ..options(HeaderProfile::Keylane) };
    assert_eq!(letter_record(&letter("tasks", Vec::new(), ""), &named).topic, "graveyard");
    let beside = options(HeaderProfile::Keylane);
    assert_eq!(beside.topic_of("tasks.accounting.retry"), "tasks.accounting.dlq");
    assert_eq!(beside.topic_of("tasks.other.retry"), "tasks.other.retry.accounting.dlq");
    assert_eq!(beside.topic_of(".accounting.retry"), ".accounting.retry.accounting.dlq");
}

/// What a redrive writes for a letter.
fn redriven_headers(letter: &[Header], redrives: u32) -> Vec<Header> {
    let story = Story { redrives, class: None, error: None, ..Story::read(letter) };
    originals(letter, HeaderProfile::Keylane).into_iter().chain(story.headers()).collect()
}

#[test]
fn what_came_through_the_retry_topic_keeps_its_origin_and_its_first_failure() {
    let options = options(HeaderProfile::Spring);
    let first = letter_record(&letter("tasks", own_headers(), "unreachable"), &options);
    let mut again = letter("tasks.accounting.retry", redriven_headers(&first.headers, 1), "worse");
    again.first_failure_ms = 1_800_000_000_000;
    let second = letter_record(&again, &options);
    assert_eq!(second.topic, first.topic);
    let story = Story::read(&second.headers);
    assert_eq!(story.origin, Story::read(&first.headers).origin);
    assert_eq!(story.first_failure_ms, Some(1_700_000_000_500));
    assert_eq!((story.redrives, story.error.as_deref()), (1, Some("worse")));
    assert_eq!(second.headers.len(), first.headers.len() + 1, "one more for the redrives");
    let mut third = letter("tasks.accounting.retry", redriven_headers(&second.headers, 2), "worse");
    third.first_failure_ms = 1_900_000_000_000;
    let third = letter_record(&third, &options);
    assert_eq!(third.headers.len(), second.headers.len());
    assert_eq!(third.headers[..2], own_headers()[..]);
}

#[test]
fn headers_alone_do_not_make_an_event_redriven() {
    let options = options(HeaderProfile::Keylane);
    let first = letter_record(&letter("tasks", own_headers(), "unreachable"), &options);
    // The same headers on another topic, from another handler, or from another topic's letters.
    let other = DeadLetterOptions { handler: "other".to_owned(), ..options.clone() };
    for (topic, headers, options) in [
        ("copies", redriven_headers(&first.headers, 1), &options),
        ("tasks.other.retry", redriven_headers(&first.headers, 1), &other),
        ("copies.accounting.retry", redriven_headers(&first.headers, 1), &options),
    ] {
        let record = letter_record(&letter(topic, headers, "x"), options);
        let story = Story::read(&record.headers);
        assert_eq!(story.origin.unwrap().topic, topic);
        assert_eq!(story.redrives, 0);
    }
}

#[test]
fn a_record_that_is_buried_again_and_again_does_not_grow() {
    for profile in [HeaderProfile::Keylane, HeaderProfile::Spring, HeaderProfile::Connect] {
        let options = options(profile);
        let mut headers = own_headers();
        let mut counts = Vec::new();
        for _ in 0..4 {
            headers = letter_record(&letter("tasks", headers, "unreachable"), &options).headers;
            counts.push(headers.len());
        }
        assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{profile:?}: {counts:?}");
    }
}

#[test]
fn another_systems_headers_of_the_record_itself_stay() {
    let own = vec![text_header("kafka_dlt-original-topic", "elsewhere")];
    let buried = letter_record(&letter("tasks", own.clone(), "x"), &options(HeaderProfile::Connect)).headers;
    assert_eq!(originals(&buried, HeaderProfile::Keylane), own);
}

#[test]
fn a_long_error_is_cut_between_characters() {
    let long = "ä".repeat(ERROR_LIMIT_BYTES);
    let cut = capped(&long);
    assert!(cut.len() <= ERROR_LIMIT_BYTES && cut.len() > ERROR_LIMIT_BYTES - 2);
    assert_eq!(capped("short"), "short");
    let odd = format!("a{long}");
    assert_eq!(capped(&odd).len(), ERROR_LIMIT_BYTES - 1);
}

#[test]
fn the_longest_story_fits_into_what_its_topic_has_room_for() {
    let longest = "x".repeat(249);
    for profile in [HeaderProfile::Keylane, HeaderProfile::Spring, HeaderProfile::Connect] {
        let options = DeadLetterOptions { profile, ..DeadLetterOptions::new(&longest, &longest, &longest) };
        let mut letter = letter(&longest, Vec::new(), &"x".repeat(2 * ERROR_LIMIT_BYTES));
        letter.attempts = u32::MAX;
        letter.first_failure_ms = i64::MIN;
        let added: usize = letter_record(&letter, &options)
            .headers
            .iter()
            .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len) + 16)
            .sum();
        assert!(added < LETTER_HEADERS_BYTES, "{profile:?}: {added}");
    }
}

fn any_headers() -> impl Strategy<Value = Vec<Header>> {
    let name =
        prop_oneof![proptest::sample::select(&story::NAMES[..]).prop_map(str::to_owned), "[a-z_.-]{0,12}",];
    let value = proptest::option::of(prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from),
        any::<i64>().prop_map(|number| Bytes::from(number.to_string())),
    ]);
    let header = (name, value).prop_map(|(name, value)| Header { name, value });
    proptest::collection::vec(header, 0..20)
}

proptest! {
    #[test]
    fn any_headers_are_read_without_harm(headers in any_headers()) {
        let story = Story::read(&headers);
        if let Some(origin) = &story.origin {
            prop_assert!(origin.partition >= 0 && origin.offset >= 0 && !origin.topic.is_empty());
        }
        // What was understood is written as it was read.
        prop_assert_eq!(Story::read(&story.headers()), story);
    }

    #[test]
    fn a_letters_own_headers_come_back_byte_for_byte(headers in any_headers()) {
        let own: Vec<Header> =
            headers.into_iter().filter(|header| !header.name.starts_with("keylane-")).collect();
        for profile in [HeaderProfile::Keylane, HeaderProfile::Spring, HeaderProfile::Connect] {
            let buried = letter_record(&letter("tasks", own.clone(), "x"), &options(profile));
            prop_assert_eq!(originals(&buried.headers, HeaderProfile::Keylane), own.clone());
        }
    }
}
