//! How often a topic is tried, who waits meanwhile, and when that is over.

use super::*;

const TOPIC: &str = "gone";

fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic: "tasks".into(), partition: number }
}

/// Tries the topic whenever it is time until its events are at fault; answers how long that took.
fn tried_in_vain(closed: &mut ClosedTopics, begun: Instant) -> Duration {
    let mut now = begun;
    for _ in 0..1_000 {
        closed.note(TOPIC, "there is no such topic", now);
        if closed.is_at_fault(TOPIC) {
            return now - begun;
        }
        closed.wait_for(TOPIC, &partition(0), "there is no such topic".to_owned());
        assert!(closed.keeps(&partition(0), now) && !closed.keeps(&partition(1), now));
        while closed.keeps(&partition(0), now) {
            now += Duration::from_millis(10);
        }
    }
    panic!("it is tried for ever");
}

#[test]
fn a_topic_is_tried_for_half_a_minute_and_then_its_events_are_at_fault_at_once() {
    let (mut closed, begun) = (ClosedTopics::default(), Instant::now());
    let took = tried_in_vain(&mut closed, begun);
    assert!((Duration::from_secs(25)..Duration::from_secs(40)).contains(&took), "{took:?}");
    let mut now = begun + took;
    for _ in 0..10 {
        now += FORGOTTEN_AFTER / 2;
        closed.note(TOPIC, "there is no such topic", now);
        assert!(closed.is_at_fault(TOPIC), "it was not left alone");
    }
    closed.note(TOPIC, "there is no such topic", now + FORGOTTEN_AFTER);
    assert!(!closed.is_at_fault(TOPIC));
}

#[test]
fn a_topic_that_takes_something_is_tried_anew() {
    let (mut closed, now) = (ClosedTopics::default(), Instant::now());
    let took = tried_in_vain(&mut closed, now);
    closed.took(["another"].into_iter());
    assert!(closed.is_at_fault(TOPIC));
    closed.took([TOPIC, TOPIC].into_iter());
    assert!(!closed.is_at_fault(TOPIC));
    assert_eq!(tried_in_vain(&mut closed, now + took), took);
}

#[test]
fn what_many_partitions_meet_at_once_is_one_try() {
    let (mut closed, now) = (ClosedTopics::default(), Instant::now());
    for number in 0..1_000 {
        closed.note(TOPIC, "there is no such topic", now);
        closed.wait_for(TOPIC, &partition(number), String::new());
    }
    assert!(!closed.is_at_fault(TOPIC));
    assert!(closed.keeps(&partition(0), now) && closed.keeps(&partition(999), now));
    assert_eq!(closed.trouble(), None, "no long matter yet");
}

#[test]
fn a_wait_that_nobody_can_end_grows_and_is_told() {
    let (mut closed, mut now) = (ClosedTopics::default(), Instant::now());
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        closed.wait_on(&partition(0), "too large".to_owned(), now);
        let begun = now;
        while closed.keeps(&partition(0), now) {
            now += Duration::from_millis(10);
        }
        assert!(now - begun >= last);
        last = now - begun;
    }
    assert!(last >= Duration::from_secs(4), "{last:?}");
    assert_eq!(closed.trouble().as_deref(), Some("tasks[0] waits: too large"));
    closed.end_wait(&partition(0));
    assert!(closed.trouble().is_none() && !closed.keeps(&partition(0), now));
}

#[test]
fn silence_is_waited_for_and_counts_against_nobody() {
    let (mut closed, mut now) = (ClosedTopics::default(), Instant::now());
    let took = tried_in_vain(&mut closed, now);
    now += took;
    closed.note_silence(TOPIC, "no leader", Duration::ZERO, now);
    assert!(!closed.is_at_fault(TOPIC), "it is there now");
    for _ in 0..1_000 {
        now += FORGOTTEN_AFTER / 2;
        closed.note_silence(TOPIC, "no leader", Duration::ZERO, now);
        assert!(!closed.is_at_fault(TOPIC));
    }
    now += FORGOTTEN_AFTER / 2;
    let took = tried_in_vain(&mut closed, now);
    assert!(took >= Duration::from_secs(25), "what is told now counts from now on: {took:?}");
}

#[test]
fn behind_a_try_that_took_long_comes_a_pause_that_is_longer() {
    let (mut closed, now) = (ClosedTopics::default(), Instant::now());
    closed.note_silence(TOPIC, "not enough replicas", Duration::from_secs(10), now);
    let (before, after) = (now + Duration::from_secs(29), now + Duration::from_secs(31));
    assert!(!closed.turns_away(&partition(1), ["another"].into_iter(), before));
    assert!(!closed.keeps(&partition(1), before));
    assert!(closed.turns_away(&partition(1), ["another", TOPIC].into_iter(), before), "not before its time");
    assert!(closed.keeps(&partition(1), before) && !closed.keeps(&partition(1), after));
    assert!(!closed.turns_away(&partition(1), [TOPIC].into_iter(), after));
}
