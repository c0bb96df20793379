//! Dead letters are the input byte for byte, with true headers of the host's own behind.

use crate::check::Verdict;
use crate::check::case::{Case, Ending, Event};
use crate::check::excuses::Excuses;
use crate::evidence::Stored;
use crate::fate::MustEnd;
use crate::fleet::{ATTEMPTS, HANDLER, INPUT};

pub(crate) fn check(case: &Case<'_>, excuses: &Excuses, verdict: &mut Verdict) {
    for ending in case.endings.iter().filter(|ending| ending.told.is_none()) {
        // One without an event is a finding of another rule.
        let Some(event) = case.events.get(&ending.place) else { continue };
        if let Some(wrong) = wrong(event, ending, excuses) {
            verdict.findings.push(format!("{:?}: {wrong}: {:?}", ending.place, ending.record));
        }
    }
}

/// What is wrong with a dead letter.
fn wrong(event: &Event<'_>, ending: &Ending<'_>, excuses: &Excuses) -> Option<String> {
    let (input, letter) = (event.record, ending.record);
    if letter.key != input.key || letter.value != input.value {
        return Some("key or value is not the input's".to_owned());
    }
    let Some((original, added)) = letter.headers.split_at_checked(input.headers.len()) else {
        return Some("headers are missing".to_owned());
    };
    if original != input.headers.as_slice() {
        return Some("a header is not the input's".to_owned());
    }
    if added.iter().any(|(name, _)| !name.starts_with("keylane-")) {
        return Some("a header is neither the input's nor the host's".to_owned());
    }
    let told = [
        ("keylane-origin-topic", INPUT.to_owned()),
        ("keylane-origin-partition", input.partition.to_string()),
        ("keylane-origin-offset", input.offset.to_string()),
        ("keylane-origin-timestamp", input.at_ms.to_string()),
        ("keylane-handler", HANDLER.to_owned()),
    ];
    if let Some((name, _)) = told.iter().find(|(name, value)| letter.header(name) != Some(value.as_bytes())) {
        return Some(format!("{name} is not true"));
    }
    if ending.host.is_none() {
        return Some("keylane-revision is no host's".to_owned());
    }
    if !number(letter, "keylane-attempts").is_some_and(|attempts| (1..=ATTEMPTS).contains(&attempts)) {
        return Some("keylane-attempts is not true".to_owned());
    }
    class_is_wrong(event, ending, excuses)
}

/// An attempt of a host that stood still may have run into its time limit, whatever the value says.
fn class_is_wrong(event: &Event<'_>, ending: &Ending<'_>, excuses: &Excuses) -> Option<String> {
    let class = ending.record.header("keylane-error-class").unwrap_or_default();
    let MustEnd::DeadLetter(wanted) = event.fate.must_end() else { return None };
    let stood_still =
        || class == b"timeout" && excuses.lost_since(ending.by(), ending.record.at_ms).is_some();
    (class != wanted.as_bytes() && !stood_still()).then(|| format!("the error class is not {wanted}"))
}

fn number(record: &Stored, name: &str) -> Option<u32> {
    std::str::from_utf8(record.header(name)?).ok()?.parse().ok()
}
