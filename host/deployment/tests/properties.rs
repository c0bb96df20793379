//! Manifests drawn at random: no text brings the reader down, a refusal names the file and the place, and
//! what is accepted keeps the bounds.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use keylane_deployment::{
    Access, DeploymentError, Document, Guarantee, Manifest, Place, Start, Then, Untyped, name_problem,
    topic_problem,
};
use keylane_test_support::FullDocument;
use proptest::prelude::*;
use proptest::sample::select;

/// Every key once, one a line, but for those that are of no use beside a database.
const FULL: &str = include_str!("full.toml");
/// Those.
const IN_CUTS: &str = include_str!("in_cuts.toml");
const DOCUMENTS: [FullDocument; 2] = [FullDocument(FULL), FullDocument(IN_CUTS)];

/// Values of every kind, and the extreme ones of each.
const VALUES: &[&str] = &[
    "true",
    "0",
    "1",
    "-1",
    "2",
    "100",
    "101",
    "1000000000",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "0xffffffffffffffff",
    "1.5",
    "-0.0",
    "1e400",
    "nan",
    "-inf",
    "\"\"",
    "\"text\"",
    "\"a.b-c_d\"",
    "\"0ms\"",
    "\"1ms\"",
    "\"100ms\"",
    "\"1s\"",
    "\"45s\"",
    "\"5m\"",
    "\"720h\"",
    "\"721h\"",
    "\"18446744073709551615h\"",
    "\"99999999999999999999ms\"",
    "\"0B\"",
    "\"1MiB\"",
    "\"1GiB\"",
    "\"1025MiB\"",
    "\"17179869184GiB\"",
    "\"-1s\"",
    "\"key\"",
    "\"partition\"",
    "\"none\"",
    "\"ordered\"",
    "\"unordered\"",
    "\"stop\"",
    "\"pause-lane\"",
    "\"dead-letter\"",
    "\"latest\"",
    "\"earliest\"",
    "\"read\"",
    "\"serializable\"",
    "\"at-least-once\"",
    "\"connect\"",
    "\"nobody@\"",
    "\"@\"",
    "\"task-lifecycle\"",
    "\"task-lifecycle.accounting.dlq\"",
    "\"task-lifecycle.accounting.retry\"",
    "\"\\u0000\"",
    "\"\\n\"",
    "\"..\"",
    "\"/\"",
    "[]",
    "[1]",
    "[\"a\", \"a\"]",
    "[\"a\", 1]",
    "[[\"a\"]]",
    "[\"a b\"]",
    "{}",
    "{ a = 1 }",
    "[{ a = 1 }]",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999-23:59",
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00",
];

fn read(text: &str) -> Result<Manifest, DeploymentError> {
    Manifest::from_document(&Document::from_text(Path::new("handler.toml"), text))
}

/// Where an error is, if a document that was read can have it.
fn place(error: &DeploymentError) -> Option<&Place> {
    match error {
        DeploymentError::Syntax { place, .. }
        | DeploymentError::UnknownKey { place, .. }
        | DeploymentError::Refused { place, .. } => Some(place),
        DeploymentError::Unreadable { .. } | DeploymentError::Missing { .. } => None,
    }
}

/// Reads the text: either it keeps the bounds, or it is refused at a place that there is.
fn judge(text: &str) -> Result<Option<DeploymentError>, TestCaseError> {
    let error = match read(text) {
        Ok(manifest) => return bounded(&manifest).map(|()| None),
        Err(error) => error,
    };
    let place = place(&error).unwrap();
    prop_assert_eq!(&place.file, Path::new("handler.toml"));
    let said = error.to_string();
    prop_assert!(said.starts_with("handler.toml"), "{}", said);
    let lines = text.split('\n').count();
    prop_assert!(place.line.is_none_or(|line| (1..=lines).contains(&line)), "{} of {} lines", said, lines);
    // What is missing from the file as a whole has no line.
    prop_assert!(place.line.is_some() || said.ends_with("is missing"), "{}", said);
    let _advice = error.hint();
    Ok(Some(error))
}

/// What every manifest keeps that is accepted.
fn bounded(manifest: &Manifest) -> Result<(), TestCaseError> {
    let subscribe = &manifest.subscribe;
    prop_assert_eq!(name_problem(&manifest.name), None);
    prop_assert!(!manifest.component.as_os_str().is_empty());
    distinct(&subscribe.topics, |topic| topic_problem(topic).is_none())?;
    prop_assert!(!subscribe.topics.is_empty() && !subscribe.type_header.is_empty());
    distinct(&subscribe.events, |event| !event.is_empty())?;
    prop_assert!(!matches!(subscribe.start, Start::Timestamp(ms) if ms < 0));
    delivery(manifest)?;
    if let Some(topic) = &manifest.dead_letters.topic {
        prop_assert_eq!(topic_problem(topic), None);
        prop_assert!(!subscribe.topics.contains(topic));
        let retried = |source: &String| *topic == format!("{source}.{}.retry", manifest.name);
        prop_assert!(!subscribe.topics.iter().any(retried), "{} feeds its own handler", topic);
        prop_assert!(manifest.delivery.then == Then::DeadLetter || subscribe.untyped == Untyped::DeadLetter);
    }
    grants(manifest)?;
    limits(manifest)
}

fn distinct(words: &[String], legal: impl Fn(&str) -> bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
    prop_assert!(words.iter().all(|word| legal(word)), "{:?}", words);
    Ok(())
}

fn delivery(manifest: &Manifest) -> Result<(), TestCaseError> {
    let delivery = &manifest.delivery;
    prop_assert!((1..=1_000).contains(&delivery.attempts));
    let caps = delivery.caps;
    for cap in [caps.retry, caps.trap, caps.timeout, caps.memory] {
        prop_assert!((1..=delivery.attempts).contains(&cap));
    }
    prop_assert!((1..=1_000_000).contains(&caps.effects));
    prop_assert!(delivery.backoff >= Duration::from_millis(1) && delivery.backoff <= delivery.backoff_max);
    prop_assert!(delivery.backoff_max <= Duration::from_secs(24 * 3_600));
    if let Some(age) = delivery.max_age {
        prop_assert!(age >= delivery.backoff && age >= Duration::from_millis(100));
        prop_assert!(age <= Duration::from_secs(30 * 24 * 3_600));
    }
    if let Some(flood) = delivery.flood {
        prop_assert_eq!(delivery.then, Then::DeadLetter);
        prop_assert!((1..100).contains(&flood.share_percent) && (10..=10_000).contains(&flood.events));
    }
    Ok(())
}

fn grants(manifest: &Manifest) -> Result<(), TestCaseError> {
    let grants = &manifest.grants;
    let written: Vec<_> = grants.sql.values().filter(|grant| grant.access == Access::Write).collect();
    prop_assert!(written.len() < 2 && written.is_empty() == grants.write_database().is_none());
    let once = manifest.delivery.guarantee == Guarantee::ExactlyOnce;
    prop_assert!(once || written.is_empty());
    prop_assert!(!once || !written.is_empty() || grants.producer.is_some());
    prop_assert!(grants.mail.is_none() || !written.is_empty());
    prop_assert_eq!(manifest.is_in_cuts(), once && written.is_empty());
    let interval = manifest.delivery.transaction_interval;
    prop_assert_eq!(interval.is_some(), manifest.is_in_cuts());
    prop_assert!(interval.is_none_or(|interval| (1..=5_000).contains(&interval.as_millis())));
    for (name, grant) in &grants.sql {
        prop_assert!(grant.access == Access::Write || grant.migrations.is_none());
        prop_assert_eq!(name_problem(name), None);
        prop_assert!((1..=1_000_000).contains(&grant.rows_max));
    }
    if let Some(producer) = &grants.producer {
        prop_assert!(!producer.topics.is_empty() && (1..=100_000).contains(&producer.records_max));
        distinct(&producer.topics, |topic| topic_problem(topic).is_none())?;
    }
    if let Some(mail) = &grants.mail {
        prop_assert!(mail.from.contains('@') && !mail.from.contains(char::is_control));
        prop_assert!((1..=1_000).contains(&mail.mails_max));
    }
    if let Some(keyvalue) = &grants.keyvalue {
        prop_assert!(!written.is_empty() && !keyvalue.buckets.is_empty());
        distinct(&keyvalue.buckets, |bucket| name_problem(bucket).is_none())?;
    }
    if let Some(http) = &grants.http {
        prop_assert!(!http.hosts.is_empty() && (!once || http.idempotency_key));
        prop_assert!((1..=1_000).contains(&http.requests_max));
        for bytes in [http.request_bytes_max, http.response_bytes_max] {
            prop_assert!((1..=64 << 20).contains(&bytes));
        }
    }
    Ok(())
}

fn limits(manifest: &Manifest) -> Result<(), TestCaseError> {
    let limits = &manifest.limits;
    let (least, most) = (Duration::from_millis(1), Duration::from_secs(300));
    prop_assert!((1 << 20..=1 << 30).contains(&limits.memory_bytes));
    prop_assert!((1..=1_000_000).contains(&limits.table_elements));
    prop_assert!((least..=most).contains(&limits.time) && (least..=most).contains(&limits.host_call));
    prop_assert!((1..=1_000).contains(&limits.concurrency) && (1..=1_000).contains(&limits.run_events));
    prop_assert!((least..=Duration::from_secs(60)).contains(&limits.slice));
    prop_assert!(limits.stuck_after >= limits.slice + limits.time);
    prop_assert!(limits.stuck_after <= Duration::from_secs(3_600));
    Ok(())
}

/// A line that is a key, its path, and the key as written.
type Key = (usize, String, &'static str);

/// The keys whose names are keylane's: what a handler's configuration holds has the author's.
fn own_keys() -> Vec<(FullDocument, Key)> {
    let is_own = |path: &str| !path.starts_with("grants.config.");
    let of = |document: FullDocument| document.keys().into_iter().map(move |key| (document, key));
    DOCUMENTS.into_iter().flat_map(of).filter(|(_, (_, path, _))| is_own(path)).collect()
}

/// Two keys of one document, which may be the same.
fn two_keys() -> impl Strategy<Value = (FullDocument, Key, Key)> {
    select(&DOCUMENTS[..])
        .prop_flat_map(|document| (Just(document), select(document.keys()), select(document.keys())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read_without_harm(text: String) {
        judge(&text)?;
    }

    #[test]
    fn a_text_that_breaks_off_or_is_garbled_is_read_without_harm(
        cut in 0..FULL.len(), garbage in "[\\[\\]{}=\"'.,#\na-z0-9-]{0,6}",
    ) {
        judge(&FULL[..cut])?;
        judge(&format!("{}{garbage}{}", &FULL[..cut], &FULL[cut..]))?;
    }

    #[test]
    fn a_key_that_is_renamed_is_named(key in select(own_keys()), end in "[a-z`\"-]{1,4}") {
        let (document, (at, path, key)) = key;
        let value = document.0.lines().nth(at).unwrap().split_once(" = ").unwrap().1;
        let renamed = format!("{key}{end}");
        let error = judge(&document.with_line(at, &format!("'{renamed}' = {value}")))?.unwrap();
        let table = path.strip_suffix(key).unwrap().trim_end_matches('.');
        let place = place(&error).unwrap();
        let in_table = place.key.as_deref().unwrap_or_default() == table;
        match &error {
            DeploymentError::UnknownKey { key, known, .. } => {
                prop_assert_eq!((key, place.line, in_table), (&renamed, Some(at + 1), true));
                let is_there = |known: &String| FULL.contains(known) || IN_CUTS.contains(known);
                prop_assert!(known.iter().all(is_there), "{:?}", known);
            }
            _ => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn any_two_values_are_bounded_or_refused(
        keys in two_keys(), values in (select(VALUES), select(VALUES)),
    ) {
        let (document, one, other) = keys;
        let text = document.with_line(one.0, &format!("{} = {}", one.2, values.0));
        let lines: Vec<_> = text.lines().collect();
        let changed = format!("{} = {}", other.2, values.1);
        let lines = lines.iter().enumerate().map(|(at, own)| if at == other.0 { &*changed } else { *own });
        judge(&lines.collect::<Vec<_>>().join("\n"))?;
    }

    #[test]
    fn what_stands_twice_is_refused(at in 0..FULL.lines().count()) {
        let line = FULL.lines().nth(at).unwrap();
        let error = judge(&FullDocument(FULL).with_line(at, &format!("{line}\n{line}")))?.unwrap();
        prop_assert!(matches!(error, DeploymentError::Syntax { .. }), "{}", error);
        prop_assert!(place(&error).unwrap().line.is_some_and(|line| line == at + 1 || line == at + 2));
    }

    #[test]
    fn what_is_left_out_has_a_default_or_is_missed(at in 0..FULL.lines().count()) {
        judge(&FullDocument(FULL).with_line(at, ""))?;
    }
}

#[test]
fn a_value_of_any_kind_is_bounded_or_refused_where_it_stands() {
    for document in DOCUMENTS {
        for key in document.keys() {
            for value in VALUES {
                is_refused_where_it_stands(document, &key, value);
            }
        }
    }
}

/// Or it is bounded.
fn is_refused_where_it_stands(document: FullDocument, (at, path, key): &Key, value: &str) {
    let Some(error) = judge(&document.with_line(*at, &format!("{key} = {value}"))).unwrap() else { return };
    if matches!(error, DeploymentError::Syntax { .. }) {
        return;
    }
    let place = place(&error).unwrap();
    let named = place.key.as_deref().unwrap_or_default();
    // What contradicts another key may be said there.
    let here = named == path || named.starts_with(&format!("{path}."));
    assert_eq!(here, place.line == Some(at + 1), "{error} for line {}, {path} = {value}", at + 1);
    let is_known = |other: &str| other == named || other.starts_with(&format!("{named}."));
    let known = document.keys().iter().any(|(_, other, _)| is_known(other));
    assert!(here || known, "{error} for {path} = {value}");
}
