//! What a commit says, and what a later owner makes of it.

use std::time::Duration;

use keylane_engine::{GapSet, RestoredNote, TopicId, restore};
use keylane_kafka::Start;

use super::{Cluster, Recorder, consumer, unique, until};

const LIMIT: Duration = Duration::from_secs(5);

/// What the group has committed for partition 0, read as a later owner would.
fn noted(cluster: &Cluster, group: &str, topic: &str) -> (GapSet, RestoredNote) {
    let (offset, metadata) = cluster.committed(group, topic, 0).unwrap();
    let restored = restore(offset, metadata.as_bytes(), TopicId::UNKNOWN);
    (restored.gap, restored.note)
}

/// Ten events of which all but the first have ended, committed and given up.
async fn leave_a_gap(cluster: &Cluster, group: &str, topic: &str) {
    cluster.produce(topic, 0, 0..10);
    let recorder = Recorder::new();
    recorder.hold(0, 0);
    let intake = cluster.intake(consumer(group, topic, Start::Earliest), &recorder);
    until("all but the first", || recorder.count() == 9).await;
    let whole = GapSet { base: 0, ended: std::iter::once(1..10).collect() };
    until("a commit of what ended above the watermark", || noted(cluster, group, topic).0 == whole).await;
    assert!(!intake.stop(Duration::from_millis(200)).await.drained, "the first is still out");
}

pub async fn what_ended_above_the_watermark_is_not_done_again(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    leave_a_gap(cluster, &group, &topic).await;
    let second = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &second);
    until("the first event, and the watermark past the rest", || {
        cluster.committed_offset(&group, &topic, 0) == Some(10)
    })
    .await;
    assert_eq!(second.offsets(0), [0], "only what had not ended");
    assert!(intake.stop(LIMIT).await.committed);
    assert_eq!(noted(cluster, &group, &topic), (GapSet::at(10), RestoredNote::Ours));
}

/// A loss that another product had: offset and payload of different moments. What the payload says is
/// relative to its own offset, so beside another one it would tell of events that never ended.
pub async fn a_payload_beside_another_offset_counts_for_nothing(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    leave_a_gap(cluster, &group, &topic).await;
    let (_, payload) = cluster.committed(&group, &topic, 0).unwrap();
    cluster.produce(&topic, 0, 10..20);
    cluster.commit(&group, &topic, 0, 5, &payload);
    let second = Recorder::new();
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &second);
    until("everything from the offset on", || second.count() == 15).await;
    assert_eq!(second.offsets(0), (5..20).collect::<Vec<_>>());
    assert!(intake.stop(LIMIT).await.committed);
}

pub async fn the_words_of_another_product_count_for_nothing_and_are_replaced(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(1).await, unique("group"));
    cluster.produce(&topic, 0, 0..10);
    for foreign in ["", "1", "bitset:AAAA", "1r", "{\"offset\":9}"] {
        cluster.commit(&group, &topic, 0, 4, foreign);
        let recorder = Recorder::new();
        recorder.close(0);
        let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
        until("our own words", || noted(cluster, &group, &topic) == (GapSet::at(4), RestoredNote::Ours))
            .await;
        recorder.open(0);
        until("the rest", || recorder.count() == 6).await;
        assert!(intake.stop(LIMIT).await.committed);
        assert_eq!(recorder.offsets(0), (4..10).collect::<Vec<_>>(), "{foreign:?}");
    }
}

pub async fn a_look_tells_what_is_committed_and_what_is_behind(cluster: &Cluster) {
    let (topic, group) = (cluster.topic(2).await, unique("group"));
    cluster.produce(&topic, 1, 0..10);
    let recorder = Recorder::new();
    recorder.hold(1, 4);
    let intake = cluster.intake(consumer(&group, &topic, Start::Earliest), &recorder);
    until("all but one", || recorder.count() == 9).await;
    until("its commit", || cluster.committed_offset(&group, &topic, 1) == Some(4)).await;
    let looks = intake.looker().look().await;
    let told: Vec<_> = looks.iter().map(|one| (one.partition.partition, one.phase.as_str())).collect();
    assert_eq!(told, [(0, "reading"), (1, "reading")]);
    let busy = looks.last().unwrap();
    assert_eq!((busy.committed, busy.end, busy.lag), (Some(4), Some(10), Some(6)));
    let status = busy.control.as_ref().unwrap().status().await.unwrap();
    assert_eq!((status.watermark, status.next), (4, 10));
    recorder.release(1, 4);
    until("the rest", || recorder.count() == 10).await;
    let looker = intake.looker();
    assert!(intake.stop(LIMIT).await.committed);
    assert!(looker.look().await.is_empty(), "nobody is left to answer");
}
