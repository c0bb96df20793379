//! The checker bites: clean evidence is right, and each thing that is broken in it is found.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod scene;

use keylane_chaos::check::judge;
use keylane_chaos::evidence::{Evidence, Stored};
use keylane_chaos::fate::Fate;
use keylane_chaos::faults::Deed;
use keylane_chaos::losses::Loss;
use keylane_chaos::samples::Sample;
use keylane_chaos::traffic::Written;
use scene::{
    EVENTS, HOPELESS, HOST, OTHER, REJECTED, bites, clean, ended_ms, fault, found, letter, telling,
    telling_of, written_ms,
};

#[test]
fn clean_evidence_is_right() {
    let verdict = judge(&clean());
    assert_eq!(verdict.findings, Vec::<String>::new());
    let tally = verdict.tally;
    assert_eq!((tally.events, tally.done, tally.dead, tally.longest_ms, tally.commits), (12, 10, 2, 50, 2));
}

#[test]
fn what_the_producer_wrote_must_be_in_the_topic() {
    bites("is not there", |evidence| {
        evidence.input.pop();
    });
    bites("was not acknowledged", |evidence| {
        evidence.written.remove(&(3, 4));
    });
    bites("is not what was written", |evidence| evidence.input[4].value.as_mut().unwrap().push(1));
    bites("is not what was written", |evidence| evidence.input[4].headers[0].1 = Some(Vec::new()));
}

/// What the producer's client only believes to be written may be there, once, or not.
#[test]
fn what_the_producer_cannot_tell_of_may_be_there_or_not() {
    let mut evidence = clean();
    let there = evidence.written.remove(&(3, 4)).unwrap();
    let lost = Written { value: b"lost".to_vec(), ..there.clone() };
    evidence.unsure = vec![there, lost];
    assert_eq!(judge(&evidence).findings, Vec::<String>::new());
}

/// It is not the hosts' doing that a value is there twice, if a broker died meanwhile.
#[test]
fn what_the_producers_client_writes_twice_is_an_event_of_its_own() {
    let twice = |evidence: &mut Evidence| {
        evidence.input.push(Stored { offset: 12, at_ms: written_ms(12), ..evidence.input[4].clone() });
        evidence.seen.push(telling(12, HOST, 52, ended_ms(12)));
    };
    bites("(3, 12) is there and was not acknowledged", twice);
    let mut evidence = clean();
    twice(&mut evidence);
    fault(&mut evidence, Deed::KilledBroker(1), written_ms(12) + 100, written_ms(12) + 200);
    let verdict = judge(&evidence);
    assert_eq!(verdict.findings, Vec::<String>::new());
    assert_eq!((verdict.tally.events, verdict.tally.written_again), (13, 1));
}

#[test]
fn a_lost_event_is_found() {
    bites("(3, 4) is lost", |evidence| evidence.seen.retain(|telling| telling.offset != 44));
    bites("(3, 6) is lost", |evidence| {
        evidence.letters.pop();
    });
    bites("passes an event", |evidence| evidence.seen.retain(|telling| telling.offset != 44));
}

#[test]
fn a_wrong_ending_is_found() {
    bites("(3, 4) ended wrongly", |evidence| evidence.letters.push(letter(4, "trap", 11)));
    bites("(3, 3) ended wrongly", |evidence| {
        evidence.seen.push(telling(REJECTED, HOST, 43, ended_ms(REJECTED)));
    });
    bites("without an event", |evidence| evidence.seen.push(telling(99, HOST, 99, ended_ms(99))));
    bites("another key", |evidence| telling_of(evidence, 4).key = Some(b"b".to_vec()));
    bites("another origin", |evidence| telling_of(evidence, 4).headers.clear());
    bites("no telling", |evidence| telling_of(evidence, 4).value = Some(b"4".to_vec()));
}

#[test]
fn an_event_that_fails_once_is_not_done_by_its_first_attempt() {
    let retried = |evidence: &mut Evidence| {
        evidence.input[4].value = Some(Fate::Retry(1).line(4).into_bytes());
        evidence.written.get_mut(&(3, 4)).unwrap().value = Fate::Retry(1).line(4).into_bytes();
    };
    bites("was done by attempt 1", retried);
}

#[test]
fn an_earlier_rounds_ending_needs_a_host_that_stood_still() {
    let late = |evidence: &mut Evidence| {
        let mut telling = telling(4, OTHER, 60, 12_000);
        telling.value = Some(b"00000002 4 6 1 11000 11500".to_vec());
        evidence.seen.push(telling);
    };
    bites("without an event", late);
    let excused = found(|evidence| {
        late(evidence);
        fault(evidence, Deed::StoppedHost(OTHER), 11_200, 11_900);
    });
    assert_eq!(excused, Vec::<String>::new());
}

#[test]
fn swapped_order_is_found() {
    let swap = |evidence: &mut Evidence| {
        let (at, at_ms) = (telling_of(evidence, 8).offset, telling_of(evidence, 8).at_ms);
        telling_of(evidence, 4).at_ms = at_ms + 1;
        telling_of(evidence, 4).offset = at + 1;
    };
    bites("a swapped", swap);
    // Nothing excuses it.
    bites("a swapped", |evidence| {
        swap(evidence);
        fault(evidence, Deed::KilledBroker(1), 0, u64::MAX);
        fault(evidence, Deed::StoppedHost(HOST), 0, u64::MAX);
    });
    // A dead letter that is later than what follows it.
    bites("b swapped", |evidence| evidence.letters[0].at_ms = ended_ms(5) + 1);
}

#[test]
fn a_host_that_goes_back_is_found() {
    let again = |evidence: &mut Evidence| {
        evidence.seen.push(telling(8, OTHER, 60, ended_ms(12)));
        evidence.seen.push(telling(4, OTHER, 61, ended_ms(12) + 50));
        fault(evidence, Deed::KilledHost(HOST), ended_ms(10), ended_ms(10));
    };
    bites("went back within a host", again);
    let excused = found(|evidence| {
        again(evidence);
        fault(evidence, Deed::StoppedHost(OTHER), ended_ms(12) + 5, ended_ms(12) + 40);
    });
    assert_eq!(excused, Vec::<String>::new());
}

#[test]
fn an_unexplained_repeat_is_found() {
    let repeat = |evidence: &mut Evidence| evidence.seen.push(telling(8, OTHER, 60, ended_ms(12)));
    bites("no fault explains it", repeat);
    bites("no fault explains it", |evidence| {
        evidence.letters.push(Stored { offset: 20, ..letter(HOPELESS, "retry", 11) });
    });
    let with = |deed: Deed, from_ms: u64| {
        found(|evidence| {
            repeat(evidence);
            fault(evidence, deed, from_ms, from_ms);
        })
    };
    let right = Vec::<String>::new();
    assert_eq!(with(Deed::KilledHost(HOST), ended_ms(9)), right);
    assert_eq!(with(Deed::StoppedHost(HOST), ended_ms(9)), right);
    assert_eq!(with(Deed::KilledBroker(2), ended_ms(9)), right);
    // Another host, long after, or a host that left in good order.
    assert_ne!(with(Deed::KilledHost(7), ended_ms(9)), right);
    assert_ne!(with(Deed::KilledHost(HOST), ended_ms(9) + 60_000), right);
    assert_ne!(with(Deed::EndedHost(HOST), ended_ms(9)), right);
    assert_ne!(with(Deed::StartedHost(OTHER), ended_ms(9)), right);
    assert_ne!(with(Deed::KilledBroker(2), 0), right);
}

#[test]
fn a_lost_partition_excuses_a_repeat_in_the_wake_of_a_fault() {
    let repeat = |evidence: &mut Evidence, partition: i32, host: u32| {
        evidence.seen.push(telling(8, OTHER, 60, ended_ms(12)));
        evidence.losses.push(Loss { host, partition: Some(partition), at_ms: ended_ms(9) });
    };
    bites("Loss { host: 1", |evidence| repeat(evidence, 3, HOST));
    bites("no fault explains it", |evidence| repeat(evidence, 3, HOST));
    let with = |partition: i32, host: u32| {
        found(|evidence| {
            repeat(evidence, partition, host);
            fault(evidence, Deed::StoppedHost(7), ended_ms(7), ended_ms(8));
        })
    };
    assert_eq!(with(3, HOST), Vec::<String>::new());
    // Another partition, or another host.
    assert_ne!(with(4, HOST), Vec::<String>::new());
    assert_ne!(with(3, 7), Vec::<String>::new());
}

#[test]
fn repeats_are_counted_by_what_explains_them() {
    let mut evidence = clean();
    evidence.seen.push(telling(8, OTHER, 60, ended_ms(12)));
    fault(&mut evidence, Deed::KilledBroker(1), ended_ms(9), ended_ms(10));
    fault(&mut evidence, Deed::KilledHost(HOST), ended_ms(9), ended_ms(9));
    let tally = judge(&evidence).tally;
    assert_eq!((tally.repeats_killed, tally.repeats_stopped, tally.repeats_broker), (1, 0, 0));
}

#[test]
fn two_events_of_a_key_at_once_are_found() {
    let at_once = |evidence: &mut Evidence| {
        telling_of(evidence, 8).value =
            Some(format!("00000001 3 8 1 {} {}", ended_ms(2), ended_ms(8)).into_bytes());
    };
    bites("handled twice at once", at_once);
    let mut evidence = clean();
    at_once(&mut evidence);
    fault(&mut evidence, Deed::StoppedHost(HOST), ended_ms(3), ended_ms(7));
    let verdict = judge(&evidence);
    // The one that took long covers the two before it.
    assert_eq!((verdict.findings, verdict.tally.overlaps > 0), (Vec::new(), true));
}

#[test]
fn an_altered_dead_letter_is_found() {
    bites("not the input's", |evidence| evidence.letters[0].value.as_mut().unwrap().push(0));
    bites("not the input's", |evidence| evidence.letters[0].key = None);
    bites("a header is not the input's", |evidence| evidence.letters[0].headers[0].1 = Some(Vec::new()));
    bites("neither", |evidence| evidence.letters[0].headers.push(("other".to_owned(), None)));
    bites("error class", |evidence| evidence.letters[0] = letter(REJECTED, "trap", 9));
    let set = |name: &'static str, value: &'static str| {
        move |evidence: &mut Evidence| {
            let letter = &mut evidence.letters[0];
            letter.headers.iter_mut().find(|(header, _)| header == name).unwrap().1 = Some(value.into());
        }
    };
    bites("origin-timestamp is not true", set("keylane-origin-timestamp", "1"));
    bites("origin-topic is not true", set("keylane-origin-topic", "other"));
    bites("keylane-attempts", set("keylane-attempts", "0"));
    bites("keylane-revision", set("keylane-revision", "unknown"));
    bites("(3, 3) is lost", set("keylane-origin-offset", "4"));
    bites("without its origin", set("keylane-origin-offset", "none"));
}

#[test]
fn a_wrong_commit_is_found() {
    bites("committed is Some(13)", |evidence| {
        evidence.committed.insert(3, EVENTS + 1);
    });
    bites("committed is Some(11)", |evidence| {
        evidence.committed.insert(3, EVENTS - 1);
    });
    bites("committed is None", |evidence| {
        evidence.committed.remove(&3);
    });
    bites("is beyond the end", |evidence| evidence.samples[1].committed = EVENTS + 1);
    bites("passes an event", |evidence| evidence.samples[0].at_ms = ended_ms(4) - 1);
    let back = |evidence: &mut Evidence| {
        evidence.samples.push(Sample { partition: 3, committed: 9, at_ms: ended_ms(EVENTS) + 10 });
    };
    bites("went back", back);
    let excused = found(|evidence| {
        back(evidence);
        fault(evidence, Deed::StoppedHost(OTHER), ended_ms(8), ended_ms(EVENTS));
    });
    assert_eq!(excused, Vec::<String>::new());
}
