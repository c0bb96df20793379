//! Redrives: what is sent, where it goes, and what stays.

use bytes::Bytes;
use keylane_engine::{DeadLetters, FailureClass, Header, OutgoingRecord, Publisher};
use keylane_kafka::{KafkaError, KafkaPublisher, LetterFilter, LetterPlace, RedriveOptions, Story};
use rdkafka::Message;

use crate::Stage;
use crate::support::letters::{Graveyard, HANDLER, everything, header, headers_of, letter, numbers};

fn all() -> RedriveOptions {
    RedriveOptions::default()
}

fn with(filter: LetterFilter) -> RedriveOptions {
    RedriveOptions { filter, ..all() }
}

pub async fn letters_come_back_byte_for_byte_and_once(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    type Part = Option<&'static [u8]>;
    let shapes: [(Part, Part); 5] = [
        (Some(b"\xff\x00"), Some(b"\x00\xfe")),
        (Some(b""), Some(b"")),
        (Some(b"k"), None),
        (None, Some(b"v")),
        (None, None),
    ];
    let own = vec![header("a", None), header("a", Some(b"")), header("\u{e4}", Some(b"\xff"))];
    for (offset, (key, value)) in (10..).zip(shapes) {
        let mut letter = letter(&yard.topic, offset, key, value);
        std::sync::Arc::get_mut(&mut letter.event).unwrap().headers = own.clone();
        yard.dead_letters.bury(letter).await.unwrap();
    }
    let dlq = yard.dlq(&stage.cluster);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 5);
    let sent = everything(&stage.cluster, &yard.retry_topic(), 3);
    assert_eq!(sent.len(), 5);
    for message in &sent {
        let headers = headers_of(message);
        let (mine, added) = headers.split_at(own.len());
        assert_eq!(mine, own);
        let story = Story::read(added);
        let origin = story.origin.unwrap();
        assert_eq!((origin.topic.as_str(), origin.partition), (yard.topic.as_str(), 2));
        assert_eq!((story.redrives, story.first_failure_ms), (1, Some(7)));
        assert_eq!((story.class, story.error, story.attempts), (None, None, None));
        let (key, value) = shapes[usize::try_from(origin.offset - 10).unwrap()];
        assert_eq!((message.key(), message.payload()), (key, value), "{}", origin.offset);
        if key.is_none() {
            assert_eq!(message.partition(), 2, "without a key it keeps its partition");
        }
    }
    let again = dlq.redrive(all()).await.unwrap();
    assert_eq!(again.sent(), 0);
    assert_eq!(again.partitions.iter().map(|partition| partition.redriven).sum::<u64>(), 5);
    assert_eq!(everything(&stage.cluster, &yard.retry_topic(), 3).len(), 5);
    let lists = dlq.list().await.unwrap();
    assert_eq!(lists.iter().map(|list| list.redriven).sum::<u64>(), 5);
}

/// The partition of each key, sorted.
pub fn homes(stage: &Stage, topic: &str, partitions: i32) -> Vec<(Vec<u8>, i32)> {
    let home =
        |message: &rdkafka::message::OwnedMessage| Some((message.key()?.to_vec(), message.partition()));
    let mut homes: Vec<_> = everything(&stage.cluster, topic, partitions).iter().filter_map(home).collect();
    homes.sort();
    homes
}

/// Events of the source with the keys that the letters of these numbers have.
pub async fn write_beside(stage: &Stage, topic: &str, numbers: std::ops::Range<u32>) {
    let publisher = KafkaPublisher::new(&stage.cluster.config()).unwrap();
    for number in numbers {
        let text = Bytes::from(number.to_string());
        let (key, value) = (Some(text.clone()), Some(text));
        let record = OutgoingRecord { topic: topic.to_owned(), key, value, headers: Vec::new() };
        publisher.publish(record).await.unwrap().await.unwrap();
    }
}

pub async fn a_key_keeps_its_partition(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..50).await;
    write_beside(stage, &yard.topic, 0..50).await;
    yard.dlq(&stage.cluster).redrive(all()).await.unwrap();
    assert_eq!(homes(stage, &yard.topic, 3), homes(stage, &yard.retry_topic(), 3));
}

pub async fn letters_left_out_stay(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    for number in 0..30_u32 {
        let text = number.to_string();
        let mut letter = letter(&yard.topic, i64::from(number), Some(text.as_bytes()), Some(text.as_bytes()));
        if number % 3 == 0 {
            letter.class = FailureClass::Timeout;
        }
        yard.dead_letters.bury(letter).await.unwrap();
    }
    let dlq = yard.dlq(&stage.cluster);
    let timeouts = LetterFilter { classes: vec!["timeout".to_owned()], ..LetterFilter::default() };
    let report = dlq.redrive(with(timeouts.clone())).await.unwrap();
    assert_eq!(report.sent(), 10);
    assert_eq!(report.partitions.iter().map(|partition| partition.left_out).sum::<u64>(), 20);
    let sent = numbers(&everything(&stage.cluster, &yard.retry_topic(), 3));
    assert_eq!(sent, (0..30).step_by(3).collect::<Vec<_>>());

    // Letters that come later are redriven with those that were left.
    yard.bury(30..35).await;
    let keys = LetterFilter { keys: vec![Bytes::from_static(b"31")], ..LetterFilter::default() };
    assert_eq!(dlq.redrive(with(keys)).await.unwrap().sent(), 1);
    assert_eq!(dlq.redrive(with(timeouts)).await.unwrap().sent(), 0);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 24);
    assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 0);
    let sent = numbers(&everything(&stage.cluster, &yard.retry_topic(), 3));
    assert_eq!(sent, (0..35).collect::<Vec<_>>());
}

pub async fn letters_of_others_are_refused_before_anything_is_sent(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..10).await;
    let publisher = KafkaPublisher::new(&stage.cluster.config()).unwrap();
    let story = |handler: &str, topic: &str| {
        vec![
            header("keylane-origin-topic", Some(topic.as_bytes())),
            header("keylane-origin-partition", Some(b"0")),
            header("keylane-origin-offset", Some(b"0")),
            header("keylane-handler", Some(handler.as_bytes())),
        ]
    };
    let foreign: [(Vec<Header>, &str); 4] = [
        (Vec::new(), "no letter of keylane"),
        (story("email", &yard.topic), "\"email\""),
        (story(HANDLER, "elsewhere"), "\"elsewhere\""),
        (vec![header("keylane-handler", Some(HANDLER.as_bytes()))], "does not say where"),
    ];
    let dlq = yard.dlq(&stage.cluster);
    let mut count = 0;
    for (headers, word) in foreign {
        let (key, value) = (Some(Bytes::from_static(b"k")), Some(Bytes::from_static(b"999")));
        let record = OutgoingRecord { topic: yard.dlq_topic(), key, value, headers };
        publisher.publish(record).await.unwrap().await.unwrap();
        count += 1;
        let newest = dlq.show(LetterFilter::default(), 1).await.unwrap().pop().unwrap();
        let place = LetterPlace { topic: newest.topic, partition: newest.partition, offset: newest.offset };
        let single = LetterFilter { places: vec![place], ..LetterFilter::default() };
        let error = dlq.redrive(with(single)).await.unwrap_err();
        assert!(matches!(error, KafkaError::Foreign { .. }) && !error.can_retry(), "{error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let error = dlq.redrive(all()).await.unwrap_err();
    assert!(matches!(error, KafkaError::Foreign { count: found, .. } if found == count), "{error}");
    assert!(everything(&stage.cluster, &yard.retry_topic(), 3).is_empty(), "nothing was sent");
    let foreign = dlq.list().await.unwrap().iter().map(|list| list.foreign).sum::<u64>();
    assert_eq!(foreign, 2, "those of another handler or none");

    let wanted = LetterFilter { errors: vec!["broken JSON".to_owned()], ..LetterFilter::default() };
    assert_eq!(dlq.redrive(with(wanted)).await.unwrap().sent(), 10, "those asked for are fine");
}

pub async fn letters_that_keep_coming_back_are_held_back(stage: &Stage) {
    let yard = Graveyard::new(&stage.cluster).await;
    yard.bury(0..1).await;
    let dlq = yard.dlq(&stage.cluster);
    for round in 1..=3_u32 {
        assert_eq!(dlq.redrive(all()).await.unwrap().sent(), 1, "round {round}");
        let sent = everything(&stage.cluster, &yard.retry_topic(), 3);
        assert_eq!(sent.len(), usize::try_from(round).unwrap());
        // It comes back as the handler's host would bury it.
        let message = sent.iter().max_by_key(|one| Story::read(&headers_of(one)).redrives).unwrap();
        let mut again = letter(&yard.retry_topic(), message.offset(), message.key(), message.payload());
        std::sync::Arc::get_mut(&mut again.event).unwrap().headers = headers_of(message);
        again.first_failure_ms = 1_000_000;
        yard.dead_letters.bury(again).await.unwrap();
    }
    let report = dlq.redrive(all()).await.unwrap();
    assert_eq!((report.sent(), report.held_back()), (0, 1));
    let newest = dlq.show(LetterFilter::default(), 1).await.unwrap().pop().unwrap();
    let story = newest.story();
    assert_eq!((story.redrives, story.first_failure_ms), (3, Some(7)), "the very first failure");
    assert_eq!(story.origin.unwrap().topic, yard.topic);
    let further = RedriveOptions { redrives_max: 4, ..all() };
    assert_eq!(dlq.redrive(further).await.unwrap().sent(), 1);
}
