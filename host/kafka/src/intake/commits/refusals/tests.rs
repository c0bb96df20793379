//! Who waits for a silent partition of a topic, and that nobody is ever blamed for it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::intake::commits::Item;
use crate::intake::commits::cuts::Part;
use crate::native::Handed;
use crate::{ConsumerConfig, KafkaConfig};

const INTERVAL: Duration = Duration::from_millis(50);

fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic: "tasks".into(), partition: number }
}

/// Cuts whose thread finds no broker.
fn cuts() -> Cuts {
    let config = ConsumerConfig::new("group", vec!["tasks".to_owned()]);
    Cuts::start(&KafkaConfig::new("127.0.0.1:1"), &config, INTERVAL, Box::new(|| {})).unwrap()
}

/// A cut of partitions of which each has one event, with one record for this topic.
fn sending(topics: &[&str]) -> Sending {
    let part = |(number, topic): (i32, &&str)| {
        let record =
            OutgoingRecord { topic: (*topic).to_owned(), key: None, value: None, headers: Vec::new() };
        let handed =
            Handed { partition: partition(number), offset: 8, payload: "".into(), leader_epoch: None };
        Part {
            item: Item { token: Token::fresh(), handed },
            number: 1,
            endings: vec![(7, Arc::new([record]))],
        }
    };
    Sending {
        begun: Instant::now(),
        at: Duration::ZERO,
        bytes: 0,
        parts: (0..).zip(topics).map(part).collect(),
    }
}

fn refused(place: usize, topic: &str, fault: Fault) -> RefusedRecord {
    RefusedRecord { place: Some(place), topic: topic.to_owned(), fault, code: None, reason: "why".to_owned() }
}

/// Of partitions that are all owned still.
fn hear(cuts: &mut Cuts, sending: &Sending, told: &[RefusedRecord], now: Instant) {
    let owned = sending.parts.iter().map(|part| part.item.token).collect();
    refuse(cuts, sending, told, &owned, now);
}

/// Of the records for a topic only those are told that were tried first.
#[test]
fn all_that_write_to_a_silent_topic_wait_and_no_other() {
    let (mut cuts, sending) = (cuts(), sending(&["silent", "here", "silent"]));
    let now = sending.begun + Duration::from_secs(10);
    hear(&mut cuts, &sending, &[refused(0, "silent", Fault::Silence)], now);
    let later = now + Duration::from_secs(29);
    assert!(cuts.closed.keeps(&partition(0), later) && cuts.closed.keeps(&partition(2), later));
    assert!(!cuts.closed.keeps(&partition(1), now));
    assert!(!cuts.closed.keeps(&partition(0), now + Duration::from_secs(31)), "it is tried again");
    assert_eq!(cuts.owed.len(), 3);
    assert!(cuts.is_resting() && cuts.failures == 0 && cuts.refused.is_empty() && cuts.set_back.is_empty());
}

#[test]
fn nobody_is_blamed_for_silence_however_long_it_lasts() {
    let (mut cuts, sending) = (cuts(), sending(&["silent", "here"]));
    let mut now = sending.begun;
    for _ in 0..1_000 {
        now += Duration::from_secs(60);
        hear(&mut cuts, &sending, &[refused(0, "silent", Fault::Silence)], now);
    }
    assert!(cuts.refused.is_empty() && cuts.set_back.is_empty());
    assert_eq!(cuts.closed.trouble().as_deref(), Some("tasks[0] waits: silent: why"));
    // And brokers that say that it is gone now have half a minute's time, as ever.
    hear(&mut cuts, &sending, &[refused(0, "silent", Fault::Topic)], now + Duration::from_secs(60));
    assert!(cuts.refused.is_empty());
}

/// Brokers that are slow look like a silent topic. What leads nowhere by itself, as a partition without a leader, says
/// nothing of the size.
#[test]
fn what_was_not_taken_in_time_comes_again_in_smaller_parts() {
    let (mut cuts, sending) = (cuts(), sending(&["slow", "here"]));
    let whole = cuts.bytes_max();
    hear(&mut cuts, &sending, &[refused(0, "slow", Fault::Silence)], sending.begun);
    assert_eq!(cuts.bytes_max(), whole, "it was not even tried");
    let late = RefusedRecord { code: Some(Code::MessageTimedOut), ..refused(0, "slow", Fault::Silence) };
    for halved in 1..=3 {
        hear(&mut cuts, &sending, std::slice::from_ref(&late), sending.begun);
        assert_eq!(cuts.bytes_max(), whole >> halved);
    }
    cuts.grow(whole / 8 / 2 - 1);
    assert_eq!(cuts.bytes_max(), whole / 8, "a small one says nothing");
    cuts.grow(whole / 8 / 2);
    assert_eq!(cuts.bytes_max(), whole / 4);
    (0..100).for_each(|_| cuts.halve());
    assert_eq!(cuts.bytes_max(), 1, "one partition's share");
    (0..100).for_each(|_| cuts.grow(whole));
    assert_eq!(cuts.bytes_max(), whole);
}

/// A partition whose share alone is too much keeps no other one waiting.
#[test]
fn who_had_a_part_last_comes_last() {
    let mut cuts = cuts();
    let tokens: Vec<Token> = (0..3).map(|_| Token::fresh()).collect();
    for _ in 0..2 {
        for first in &tokens {
            let next = tokens.iter().min_by_key(|token| cuts.turn_of(**token)).unwrap();
            assert_eq!(next, first);
            cuts.take_turn([*next].into_iter());
            cuts.fail(&[], "too slow".to_owned());
        }
    }
    cuts.forget_all_but(&tokens[1..].iter().copied().collect());
    assert_eq!(cuts.turn_of(tokens[0]), 0);
}

#[test]
fn a_record_that_is_at_fault_counts_before_a_silent_topic() {
    let (mut cuts, sending) = (cuts(), sending(&["silent", "here"]));
    let told = [refused(0, "silent", Fault::Silence), refused(1, "here", Fault::Record)];
    hear(&mut cuts, &sending, &told, sending.begun);
    assert_eq!(cuts.set_back.keys().collect::<Vec<_>>(), [&partition(1)]);
    assert!(!cuts.closed.keeps(&partition(0), sending.begun));
}

/// A partition may wait to be taken while its topic is deleted and made again: only the id tells that.
#[test]
fn what_was_refused_of_a_former_topic_says_nothing_of_the_next() {
    let (mut cuts, sending) = (cuts(), sending(&["here"]));
    let former = TopicId::new([1; 16]);
    assert_eq!(cuts.refused_under(&partition(0), former), BTreeMap::new());
    // Twice, so that the partition waits as well.
    for _ in 0..2 {
        hear(&mut cuts, &sending, &[refused(0, "here", Fault::Record)], sending.begun);
    }
    let known = |offsets: BTreeMap<i64, String>| offsets.into_keys().collect::<Vec<_>>();
    assert_eq!(known(cuts.refused_under(&partition(0), former)), [7]);
    assert_eq!(known(cuts.refused_under(&partition(0), TopicId::UNKNOWN)), [7], "no broker told another one");
    assert!(cuts.closed.keeps(&partition(0), sending.begun));
    assert_eq!(known(cuts.refused_under(&partition(0), TopicId::new([2; 16]))), [0_i64; 0]);
    assert!(cuts.set_back.is_empty() && !cuts.closed.keeps(&partition(0), sending.begun));
}
