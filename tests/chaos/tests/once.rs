//! The checker bites where effects must happen once: clean evidence is right, and each thing that is broken in
//! it is found, whatever else was wrong at the time.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod scene;

use keylane_chaos::check::judge;
use keylane_chaos::effects::message_id;
use keylane_chaos::evidence::{Evidence, Once, Stored};
use keylane_chaos::fate::Fate;
use keylane_chaos::faults::{Deed, FaultLog};
use keylane_chaos::given_up::Figures;
use keylane_chaos::ledger::{Accounts, LedgerRow, Sums};
use keylane_test_support::TakenMail;
use scene::{EVENTS, HOPELESS, HOST, OTHER, REJECTED, ended_ms, fate, fault, input, letter, telling};

/// Rows that each key had before, and the offset of the last: the round begins in the middle of a log.
const BEFORE: (i64, i64) = (40, -1);
/// The input's topic id.
const TOPIC_ID: &str = "BwcHBwcHBwcHBwcHBwcHBw";
/// The only mail.
const MAILED: i64 = 0;

fn key(offset: i64) -> String {
    String::from_utf8(input(offset).key.unwrap()).unwrap()
}

fn told(evidence: &Evidence, offset: i64) -> String {
    let record = evidence.seen.iter().find(|record| record.offset == 40 + offset).unwrap();
    String::from_utf8(record.value.clone().unwrap()).unwrap()
}

/// Two keys: `a` has the even offsets, `b` the odd ones.
fn clean() -> Evidence {
    let evidence = scene::clean();
    let mut accounts: Accounts = ["a", "b"].map(|key| ((3, key.to_owned()), BEFORE)).into();
    let before = Sums { accounts: accounts.clone(), shared: 5 };
    let mut rows = Vec::new();
    for offset in (0..EVENTS).filter(|offset| fate(*offset) == Fate::Done) {
        let account = accounts.get_mut(&(3, key(offset))).unwrap();
        rows.push(LedgerRow {
            value_id: offset.unsigned_abs(),
            place: (3, offset),
            key: Some(key(offset)),
            entry: Some(account.0 + 1),
            after: Some(account.1),
            told: told(&evidence, offset),
        });
        *account = (account.0 + 1, offset);
    }
    let mail = |offset: i64| TakenMail {
        begun_ms: ended_ms(offset) + 500,
        at_ms: ended_ms(offset) + 500,
        message_id: message_id(TOPIC_ID, 3, offset),
        to: vec![format!("value-{offset}@example.org")],
        message: format!("Subject: value {offset}\n\n{}\n", told(&evidence, offset)),
    };
    let mails = vec![mail(MAILED), mail(10)];
    // The value 0 is the only one that changes the shared row.
    let after = Sums { accounts, shared: 6 };
    let figures = Figures { stopped_inside: 1, past_pruning: 2, amid_commits: 3 };
    Evidence { once: Some(Once { rows, before, after, mails, unsent: 0, figures }), ..evidence }
}

fn once(evidence: &mut Evidence) -> &mut Once {
    evidence.once.as_mut().unwrap()
}

fn row(evidence: &mut Evidence, offset: i64) -> &mut LedgerRow {
    once(evidence).rows.iter_mut().find(|row| row.place.1 == offset).unwrap()
}

/// Clean evidence with one thing changed; answers what is found. Nothing excuses it, so everything that could
/// be an excuse is there.
fn found(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = clean();
    for deed in
        [Deed::KilledBroker(1), Deed::StoppedHost(HOST), Deed::KilledHost(OTHER), Deed::KilledHost(HOST)]
    {
        fault(&mut evidence, deed, 0, u64::MAX);
    }
    change(&mut evidence);
    judge(&evidence).findings
}

#[track_caller]
fn bites(words: &str, change: impl FnOnce(&mut Evidence)) {
    let found = found(change);
    assert!(found.iter().any(|finding| finding.contains(words)), "{words:?} is not in {found:?}");
}

#[test]
fn clean_evidence_is_right() {
    let verdict = judge(&clean());
    assert_eq!(verdict.findings, Vec::<String>::new());
    let tally = verdict.tally;
    assert_eq!((tally.events, tally.rows, tally.done, tally.dead, tally.mails), (12, 10, 10, 2, 2));
    assert_eq!((tally.mails_again, tally.lost, tally.twice, tally.out_of_order), (0, 0, 0, 0));
    assert_eq!((tally.stopped_inside, tally.past_pruning, tally.amid_commits), (1, 2, 3));
    assert_eq!(found(|_| {}), Vec::<String>::new());
}

/// Without a database, and without a mail server, what lies in Kafka must still be there once.
#[test]
fn by_kafka_alone_the_same_is_found() {
    let alone = || Evidence { once: None, in_cuts: true, ..clean() };
    assert_eq!(judge(&alone()).findings, Vec::<String>::new());
    let mut evidence = alone();
    evidence.seen.push(telling(4, OTHER, 60, ended_ms(12)));
    for deed in [Deed::KilledBroker(1), Deed::StoppedHost(HOST), Deed::KilledHost(HOST)] {
        fault(&mut evidence, deed, 0, u64::MAX);
    }
    let verdict = judge(&evidence);
    assert!(verdict.findings.iter().any(|finding| finding.contains("(3, 4) ended twice")), "{verdict:?}");
    assert_eq!(verdict.tally.twice, 1);
    let mut evidence = alone();
    evidence.seen.retain(|record| record.offset != 44);
    assert!(judge(&evidence).findings.iter().any(|finding| finding.contains("(3, 4) is lost")));
}

#[test]
fn what_is_lost_is_found() {
    bites("(3, 4) is lost", |evidence| evidence.seen.retain(|record| record.offset != 44));
    bites("(3, 6) is lost", |evidence| {
        evidence.letters.pop();
    });
    bites("(3, 4) has no row", |evidence| once(evidence).rows.retain(|row| row.place.1 != 4));
    bites("(3, 0): its mail did not come", |evidence| {
        once(evidence).mails.remove(0);
    });
    bites("committed is Some(11)", |evidence| {
        evidence.committed.insert(3, EVENTS - 1);
    });
    bites("2 rows are left in the outbox", |evidence| once(evidence).unsent = 2);
    let mut evidence = clean();
    evidence.seen.retain(|record| record.offset != 44);
    once(&mut evidence).rows.retain(|row| row.place.1 != 4);
    assert_eq!(judge(&evidence).tally.lost, 2);
}

#[test]
fn what_is_there_twice_is_found() {
    bites("(3, 4) ended twice", |evidence| {
        evidence.seen.push(telling(4, OTHER, 60, ended_ms(12)));
    });
    bites("(3, 6) ended twice", |evidence| {
        evidence.letters.push(Stored { offset: 20, ..letter(HOPELESS, "retry", 11) });
    });
    bites("(3, 4) has 2 rows", |evidence| {
        let again = row(evidence, 4).clone();
        once(evidence).rows.push(again);
    });
    bites("a row of an earlier event", |evidence| {
        let earlier = LedgerRow { place: (3, -7), ..row(evidence, 4).clone() };
        once(evidence).rows.push(earlier);
    });
    bites("an ending without an event", |evidence| {
        evidence.seen.push(telling(99, HOST, 99, ended_ms(11)));
    });
    let mut evidence = clean();
    evidence.seen.push(telling(4, OTHER, 60, ended_ms(12)));
    assert_eq!(judge(&evidence).tally.twice, 1);
}

#[test]
fn what_an_attempt_left_that_failed_is_found() {
    // A statement's failure was swallowed, and the host believed the handler.
    bites("(3, 3) must not have a row", |evidence| {
        let row = LedgerRow { place: (3, REJECTED), value_id: 3, ..row(evidence, 5).clone() };
        once(evidence).rows.push(row);
    });
    bites("(3, 3) ended wrongly", |evidence| {
        evidence.seen.push(telling(REJECTED, HOST, 43, ended_ms(REJECTED)));
    });
    bites("was done by attempt 1", |evidence| {
        let value = Fate::Swallow(1).line(4).into_bytes();
        evidence.input[4].value = Some(value.clone());
        evidence.written.get_mut(&(3, 4)).unwrap().value = value;
    });
    // The row is of one attempt, the record of another.
    bites("of two attempts", |evidence| row(evidence, 4).told.push('0'));
    bites("mails that nobody had to send", |evidence| {
        once(evidence).mails[1].message_id = message_id(TOPIC_ID, 3, HOPELESS);
    });
    bites("mails that nobody had to send", |evidence| {
        once(evidence).mails[1].message_id = message_id("AwMDAwMDAwMDAwMDAwMDAw", 3, 10);
    });
}

#[test]
fn a_row_or_a_mail_of_something_else_is_found() {
    bites("a row of another value", |evidence| row(evidence, 4).value_id = 99);
    bites("a row of another key", |evidence| row(evidence, 4).key = Some("b".to_owned()));
    bites("a row of another key", |evidence| row(evidence, 4).key = None);
    bites("(3, 0): its mail is another one", |evidence| once(evidence).mails[0].to.clear());
    bites("(3, 10): its mail is another one", |evidence| once(evidence).mails[1].message.clear());
}

#[test]
fn what_is_out_of_order_is_found() {
    let swap = |evidence: &mut Evidence| {
        let rows = (row(evidence, 4).clone(), row(evidence, 8).clone());
        for (of, other) in [(4, rows.1), (8, rows.0)] {
            let row = row(evidence, of);
            (row.entry, row.after) = (other.entry, other.after);
        }
    };
    bites("\"a\") swapped", swap);
    // A row that did not see the one before it, as after a lost update.
    bites("is no chain", |evidence| row(evidence, 8).after = Some(2));
    bites("is no chain", |evidence| row(evidence, 8).entry = Some(42));
    // Another attempt of the same event wrote here and was forgotten.
    bites("the account of (3, \"a\") is", |evidence| {
        once(evidence).after.accounts.insert((3, "a".to_owned()), (46, 10));
    });
    bites("the account of (3, \"b\") is not there", |evidence| {
        once(evidence).after.accounts.remove(&(3, "b".to_owned()));
    });
    bites("the account of (7, \"a\") is", |evidence| {
        once(evidence).after.accounts.insert((7, "a".to_owned()), (1, 1));
    });
    bites("the shared row was changed 2 times, not 1", |evidence| once(evidence).after.shared = 7);
    bites("a swapped", |evidence| {
        let later = evidence.seen.iter().find(|record| record.offset == 48).unwrap().offset + 100;
        evidence.seen.iter_mut().find(|record| record.offset == 44).unwrap().offset = later;
    });
    let mut evidence = clean();
    swap(&mut evidence);
    assert!(judge(&evidence).tally.out_of_order > 0);
}

#[test]
fn dead_letters_out_of_order_are_found() {
    let two = |evidence: &mut Evidence, at: i64| {
        // The event 8 is of the key of the hopeless one, and is rejected as well.
        let value = Fate::Reject.line(8).into_bytes();
        evidence.input[8].value = Some(value.clone());
        evidence.written.get_mut(&(3, 8)).unwrap().value = value.clone();
        evidence.seen.retain(|record| record.offset != 48);
        let letter = letter(8, "reject", at);
        evidence.letters.push(Stored { value: Some(value), ..letter });
    };
    bites("a swapped", |evidence| two(evidence, 5));
    assert!(!found(|evidence| two(evidence, 15)).iter().any(|finding| finding.contains("swapped")));
}

#[test]
fn two_events_of_a_key_at_once_are_found() {
    bites("handled twice at once", |evidence| {
        let told = format!("{HOST:08} 3 8 1 {} {}", ended_ms(2), ended_ms(8));
        evidence.seen.iter_mut().find(|record| record.offset == 48).unwrap().value = Some(told.into_bytes());
    });
}

#[test]
fn a_mail_that_comes_again_needs_a_fault_between() {
    let again = |evidence: &mut Evidence, after_ms: u64| {
        let mail = once(evidence).mails[0].clone();
        once(evidence).mails.push(TakenMail { at_ms: mail.at_ms + after_ms, ..mail });
        evidence.faults = FaultLog::default();
        mail.at_ms
    };
    bites("came twice", |evidence| {
        again(evidence, 900);
    });
    let with = |deed: Deed, from_ms: u64, until_ms: u64| {
        let mut evidence = clean();
        let first_ms = again(&mut evidence, 9_000);
        fault(&mut evidence, deed, first_ms + from_ms - 1_000, first_ms + until_ms - 1_000);
        let verdict = judge(&evidence);
        assert_eq!(verdict.findings.is_empty(), verdict.tally.mails_again == 1);
        verdict.findings.is_empty()
    };
    assert!(with(Deed::Relayed(HOST), 1_500, 1_500));
    // Its words were on their way when it was killed.
    assert!(with(Deed::Relayed(HOST), 900, 900) && with(Deed::Relayed(HOST), 300, 300));
    assert!(with(Deed::Relayed(OTHER), 500, 20_000) && with(Deed::KilledDatabase, 1_500, 3_000));
    // It stood still amid the mail, and went on with it; or too long before.
    assert!(with(Deed::Relayed(OTHER), 0, 300) && !with(Deed::Relayed(OTHER), 0, 100));
    // Over well before the first one, long after it, or after the second one.
    assert!(!with(Deed::Relayed(HOST), 100, 100) && !with(Deed::Relayed(HOST), 7_500, 7_500));
    assert!(!with(Deed::Relayed(HOST), 10_500, 11_000));
    // Nobody could note it, until that was over.
    assert!(with(Deed::HeldTheWriter(OTHER), 500, 20_000) && !with(Deed::HeldTheWriter(OTHER), 0, 900));
    // What befell those that did not relay, or kept nobody from noting it, explains nothing.
    for deed in [
        Deed::KilledHost(HOST),
        Deed::KilledHost(OTHER),
        Deed::StoppedHost(HOST),
        Deed::StoppedHost(OTHER),
        Deed::StoodInside(OTHER),
        Deed::KilledBroker(1),
        Deed::EndedHost(HOST),
        Deed::DeletedOffsets,
    ] {
        assert!(!with(deed, 1_500, 1_500) && !with(deed, 500, 20_000), "{deed:?}");
    }
    bites("came again changed", |evidence| {
        again(evidence, 900);
        once(evidence).mails[2].message.push(' ');
    });
}
