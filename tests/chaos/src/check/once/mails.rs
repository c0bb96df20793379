//! Each mail came, with the Message-ID of its event, and no other did. One that came again is the same and
//! has an explanation: whoever sent it was killed or stood still, or the database was away or took nothing,
//! between the server's yes and the note of it.

use std::collections::BTreeMap;

use keylane_test_support::TakenMail;

use crate::check::Verdict;
use crate::check::case::{Case, Event, Place};
use crate::check::excuses::Excuses;
use crate::effects::{message_id, topic_id};
use crate::fate::MustEnd;
use crate::faults::{Deed, Entry};

/// Each so-manieth value sends a mail; `tests/guests/ledger-witness` knows it too.
pub(crate) const MAIL_EVERY: u64 = 10;
/// How long before a fault a mail may have been taken whose note was prevented by it: the handful that it came
/// with has to be answered, and a statement to give up.
const NOTE_LAG_MS: u64 = 5_000;
/// How long after SIGKILL, or after SIGCONT, the server may hear of a mail for the first time that was begun before: the
/// words of a process that is gone are still on their way, and one that stood still goes on. When it has heard all of
/// it says nothing: a busy machine takes its time.
const BEGUN_BEFORE_MS: u64 = 800;

pub(crate) fn check(case: &Case<'_>, _: &Excuses, verdict: &mut Verdict) {
    let Some(once) = &case.evidence.once else { return };
    let mut taken: BTreeMap<&str, Vec<&TakenMail>> = BTreeMap::new();
    for mail in &once.mails {
        taken.entry(&mail.message_id).or_default().push(mail);
    }
    // One topic, so one id: a mail with another one is found as one that nobody had to send.
    let input = once.mails.iter().find_map(|mail| topic_id(&mail.message_id)).unwrap_or_default();
    for (place, event) in &case.events {
        if !(event.fate.must_end() == MustEnd::Done
            && event.id().is_some_and(|id| id.is_multiple_of(MAIL_EVERY)))
        {
            continue;
        }
        let Some(mails) = taken.remove(message_id(input, place.0, place.1).as_str()) else {
            verdict.tally.lost += 1;
            verdict.findings.push(format!("{place:?}: its mail did not come"));
            continue;
        };
        verdict.tally.mails += 1;
        one(case, (*place, event), &mails, verdict);
    }
    for (id, mails) in taken {
        verdict.tally.twice += 1;
        verdict.findings.push(format!("{} mails that nobody had to send, <{id}>: {mails:?}", mails.len()));
    }
}

/// The mails of an event, as they came.
fn one(case: &Case<'_>, (place, event): (Place, &Event<'_>), mails: &[&TakenMail], verdict: &mut Verdict) {
    let Some(once) = &case.evidence.once else { return };
    let row = once.rows.iter().find(|row| row.place == place);
    let to = event.id().map(|id| format!("value-{id}@example.org"));
    for mail in mails {
        let told = row.is_some_and(|row| mail.message.contains(&row.told));
        if mail.to.as_slice() != to.as_slice() || !told {
            verdict.findings.push(format!("{place:?}: its mail is another one: {mail:?}"));
        }
    }
    for pair in mails.windows(2) {
        let [first, again] = pair else { continue };
        if first.message != again.message {
            verdict.findings.push(format!("{place:?}: its mail came again changed: {first:?}, {again:?}"));
        }
        if case.evidence.faults.entries.iter().any(|fault| explains(fault, first, again)) {
            verdict.tally.mails_again += 1;
        } else {
            verdict.tally.twice += 1;
            let times = (first.at_ms, again.at_ms);
            verdict
                .findings
                .push(format!("{place:?}: its mail came twice, at {times:?}: no fault explains it"));
        }
    }
}

/// Whether a fault came between the two. Only the host that relays sends: where it was killed amid a mail it does
/// not note it; where it stood still it goes on with it when its lease is over, and may not note it any more.
/// Others explain nothing, but for one that held the database's only writer: it kept the note out for so long.
fn explains(fault: &Entry, first: &TakenMail, again: &TakenMail) -> bool {
    let (first_ms, begun_before_ms) = match fault.deed {
        Deed::Relayed(_) => (first.begun_ms, BEGUN_BEFORE_MS),
        Deed::KilledDatabase | Deed::HeldTheWriter(_) => (first.at_ms, 0),
        _ => return false,
    };
    let noted_by = first.at_ms.saturating_add(NOTE_LAG_MS).min(again.at_ms);
    fault.from_ms <= noted_by && first_ms <= fault.until_ms.saturating_add(begun_before_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(at_ms: u64) -> TakenMail {
        let (message_id, message) = (String::new(), String::new());
        TakenMail { begun_ms: at_ms, at_ms, message_id, to: Vec::new(), message }
    }

    #[test]
    fn a_relay_that_stood_still_explains_what_it_had_begun_however_long_the_rest_takes() {
        let stopped = Entry { deed: Deed::Relayed(41), from_ms: 10_000, until_ms: 23_000 };
        // As it was met: taken 833 ms after the host went on, on a busy machine.
        let begun = |begun_ms| TakenMail { begun_ms, ..taken(23_833) };
        assert!(explains(&stopped, &begun(9_990), &taken(23_860)));
        assert!(explains(&stopped, &begun(23_200), &taken(23_860)));
        assert!(!explains(&stopped, &begun(23_820), &taken(23_860)));
    }

    #[test]
    fn a_relay_that_was_killed_explains_mails_that_were_begun_before() {
        let killed = Entry { deed: Deed::Relayed(21), from_ms: 10_000, until_ms: 10_000 };
        // As it was met: the server read it one millisecond later.
        for first_ms in [6_000, 9_999, 10_001] {
            assert!(explains(&killed, &taken(first_ms), &taken(21_225)), "{first_ms}");
        }
        for (first_ms, again_ms) in [(11_000, 21_000), (2_000, 21_000), (8_000, 9_000)] {
            assert!(!explains(&killed, &taken(first_ms), &taken(again_ms)), "{first_ms} {again_ms}");
        }
    }
}
