//! What a round leaves behind, made by hand: clean, until a test changes one thing in it.

#![allow(dead_code, reason = "each test binary uses what it needs")]

use keylane_chaos::check::judge;
use keylane_chaos::evidence::{Evidence, Stored};
use keylane_chaos::fate::{Fate, NEVER};
use keylane_chaos::faults::{Deed, Entry, FaultLog};
use keylane_chaos::fleet::{HANDLER, INPUT};
use keylane_chaos::samples::Sample;
use keylane_chaos::traffic::Written;

/// Events of the partition 3, alternately of the keys `a` (even) and `b` (odd).
pub const EVENTS: i64 = 12;
/// This one is rejected, that one is never done.
pub const REJECTED: i64 = 3;
pub const HOPELESS: i64 = 6;
/// The host that handles all of them, and one that has nothing to do with them.
pub const HOST: u32 = 1;
pub const OTHER: u32 = 2;

pub fn written_ms(offset: i64) -> u64 {
    10_000 + 100 * offset.unsigned_abs()
}

pub fn ended_ms(offset: i64) -> u64 {
    written_ms(offset) + 50
}

pub fn fate(offset: i64) -> Fate {
    match offset {
        REJECTED => Fate::Reject,
        HOPELESS => Fate::Retry(NEVER),
        _ => Fate::Done,
    }
}

pub fn input(offset: i64) -> Stored {
    let mut value = fate(offset).line(offset.unsigned_abs()).into_bytes();
    value.extend_from_slice(b"\xff\x00");
    Stored {
        partition: 3,
        offset,
        at_ms: written_ms(offset),
        key: Some(if offset % 2 == 0 { b"a".to_vec() } else { b"b".to_vec() }),
        value: Some(value),
        headers: vec![("more".to_owned(), None), ("more".to_owned(), Some(vec![0xff]))],
    }
}

/// What a host tells of an event; `at` is the offset of the telling.
pub fn telling(offset: i64, host: u32, at: i64, at_ms: u64) -> Stored {
    let value = format!("{host:08} 3 {offset} 1 {} {}", at_ms - 5, at_ms - 2);
    Stored {
        partition: i32::from(offset % 2 != 0),
        offset: at,
        at_ms,
        key: input(offset).key,
        value: Some(value.into_bytes()),
        headers: vec![("keylane-origin".to_owned(), Some(format!("{INPUT}/3/{offset}").into_bytes()))],
    }
}

pub fn letter(offset: i64, class: &str, at: i64) -> Stored {
    let input = input(offset);
    let mut headers = input.headers;
    for (name, value) in [
        ("origin-topic", INPUT.to_owned()),
        ("origin-partition", "3".to_owned()),
        ("origin-offset", offset.to_string()),
        ("origin-timestamp", input.at_ms.to_string()),
        ("handler", HANDLER.to_owned()),
        ("revision", "abc".to_owned()),
        ("attempts", "1".to_owned()),
        ("error-class", class.to_owned()),
    ] {
        headers.push((format!("keylane-{name}"), Some(value.into_bytes())));
    }
    Stored { partition: 0, offset: at, at_ms: ended_ms(offset), headers, ..input }
}

pub fn clean() -> Evidence {
    let written = |offset| {
        let Stored { key, value, headers, .. } = input(offset);
        ((3, offset), Written { key, value: value.unwrap(), headers })
    };
    let done = (0..EVENTS).filter(|offset| fate(*offset) == Fate::Done);
    Evidence {
        began_at: [(3, 0), (4, 7)].into(),
        written: (0..EVENTS).map(written).collect(),
        unsure: Vec::new(),
        input: (0..EVENTS).map(input).collect(),
        seen: done.map(|offset| telling(offset, HOST, 40 + offset, ended_ms(offset))).collect(),
        letters: vec![letter(REJECTED, "reject", 9), letter(HOPELESS, "retry", 10)],
        revisions: [(b"abc".to_vec(), HOST)].into(),
        ends: [(3, EVENTS), (4, 7), (5, 0)].into(),
        committed: [(3, EVENTS), (4, 7)].into(),
        samples: vec![
            Sample { partition: 3, committed: 5, at_ms: ended_ms(4) },
            Sample { partition: 3, committed: EVENTS, at_ms: ended_ms(EVENTS) },
        ],
        losses: Vec::new(),
        faults: FaultLog::default(),
        once: None,
        in_cuts: false,
    }
}

/// Clean evidence with one thing changed; answers what is found.
pub fn found(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = clean();
    change(&mut evidence);
    judge(&evidence).findings
}

/// Something of this rule is found, with these words.
#[track_caller]
pub fn bites(words: &str, change: impl FnOnce(&mut Evidence)) {
    let found = found(change);
    assert!(found.iter().any(|finding| finding.contains(words)), "{words:?} is not in {found:?}");
}

pub fn fault(evidence: &mut Evidence, deed: Deed, from_ms: u64, until_ms: u64) {
    evidence.faults.entries.push(Entry { deed, from_ms, until_ms });
}

pub fn telling_of(evidence: &mut Evidence, offset: i64) -> &mut Stored {
    evidence.seen.iter_mut().find(|telling| telling.offset == 40 + offset).unwrap()
}
