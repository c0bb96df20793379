//! What filters are taken for, and what is refused.

use proptest::prelude::*;

use super::*;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn filters(given: &[&str]) -> Filters {
    Filters { parts: given.iter().map(|given| part(given).unwrap()).collect() }
}

#[test]
fn filters_are_understood() {
    let letters = Some("tasks.accounting.dlq".to_owned());
    for (given, wanted) in [
        ("class=timeout", Part::Class("timeout".to_owned())),
        ("key=a=b", Part::Key(Bytes::from_static(b"a=b"))),
        ("offset=2/17", Part::Offset(None, 2, 17)),
        ("offset=tasks.accounting.dlq/2/17", Part::Offset(letters, 2, 17)),
        ("since=1700000000000", Part::Since(1_700_000_000_000)),
        ("since=1970-01-01T00:00:01Z", Part::Since(1_000)),
        ("error=no such worker", Part::Error("no such worker".to_owned())),
        ("handler=email", Part::Handler("email".to_owned())),
    ] {
        assert_eq!(part(given), Ok(wanted), "{given}");
    }
    assert!(matches!(part("since=2h"), Ok(Part::Since(ms)) if ms > 1_700_000_000_000));
}

#[test]
fn what_is_no_filter_is_refused_with_what_would_be() {
    for (given, word) in [
        ("class", "KEY=VALUE"),
        ("colour=red", "class, key, since"),
        ("offset=17", "TOPIC/PARTITION/OFFSET"),
        ("offset=2:17", "TOPIC/PARTITION/OFFSET"),
        ("offset=-1/17", "TOPIC/PARTITION/OFFSET"),
        ("offset=/2/17", "TOPIC/PARTITION/OFFSET"),
        ("offset=a/b/2/17", "TOPIC/PARTITION/OFFSET"),
        ("since=yesterday", "2026-03-01T00:00:00Z"),
    ] {
        let told = part(given).unwrap_err();
        assert!(told.contains(word), "{given}: {told}");
    }
}

#[test]
fn several_filters_become_one() {
    let filters = filters(&["class=trap", "class=timeout", "since=5", "since=7"]);
    let filter = filters.filter(Some("tasks"), &texts(&["a", "b"])).unwrap();
    assert_eq!(filter.classes, ["trap", "timeout"]);
    assert_eq!((filter.since_ms, filter.origin_topic.as_deref()), (Some(7), Some("tasks")));
}

#[test]
fn an_offset_is_of_one_topic() {
    let (one, two) = (texts(&["a.h.dlq"]), texts(&["a.h.dlq", "b.h.dlq"]));
    let place = |given: &str, letters_in: &[String]| {
        let filter = filters(&[given]).filter(None, letters_in)?;
        Ok::<_, OperatorError>(filter.places.iter().map(LetterPlace::to_string).collect::<Vec<_>>())
    };
    assert_eq!(place("offset=2/17", &one).unwrap(), ["a.h.dlq/2/17"]);
    assert_eq!(place("offset=b.h.dlq/2/17", &two).unwrap(), ["b.h.dlq/2/17"]);
    let ambiguous = place("offset=2/17", &two).unwrap_err();
    let foreign = place("offset=c.h.dlq/2/17", &two).unwrap_err();
    for (error, problem, hint) in [
        (ambiguous, "each of a.h.dlq, b.h.dlq", "offset=a.h.dlq/2/17"),
        (foreign, "none of the letters", "a.h.dlq, b.h.dlq"),
    ] {
        let (told, advice) = (error.to_string(), error.hint.clone().unwrap_or_default());
        assert!(told.contains(problem) && advice.contains(hint), "{told}; {advice}");
    }
}

/// A filter as somebody would write it.
fn written(part: &Part) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    match part {
        Part::Class(class) => format!("class={class}"),
        Part::Key(key) => format!("key={}", text(key)),
        Part::Since(ms) => format!("since={ms}"),
        Part::Offset(None, partition, offset) => format!("offset={partition}/{offset}"),
        Part::Offset(Some(topic), partition, offset) => format!("offset={topic}/{partition}/{offset}"),
        Part::Error(error) => format!("error={error}"),
        Part::Handler(handler) => format!("handler={handler}"),
    }
}

fn any_filter() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        proptest::sample::select(&["class", "key", "since", "offset", "error", "handler"][..])
            .prop_map(str::to_owned),
        "[a-z]{0,7}",
    ];
    let value = prop_oneof![
        any::<String>(),
        "[a-z.]{0,4}/?-?[0-9]{0,20}[/:]-?[0-9]{0,20}",
        "-?[0-9]{1,20}[smhd]?",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?",
    ];
    prop_oneof![any::<String>(), (key, value).prop_map(|(key, value)| format!("{key}={value}"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_a_filter_or_refused_and_what_is_one_can_be_written(given in any_filter()) {
        match part(&given) {
            Ok(understood) => prop_assert_eq!(part(&written(&understood)), Ok(understood)),
            Err(told) => prop_assert!(!told.is_empty()),
        }
    }

    #[test]
    fn any_place_is_understood_as_it_is_written(
        topic in "[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}",
        partition in 0..i32::MAX,
        offset in 0..i64::MAX,
    ) {
        let place = LetterPlace { topic: topic.clone(), partition, offset };
        let filters = Filters { parts: vec![part(&format!("offset={place}")).unwrap()] };
        prop_assert_eq!(filters.filter(None, &[topic]).unwrap().places, [place]);
    }
}
