//! What is deleted stays deleted over a restart: records from the front of a partition, and topics, whose
//! names come back with other ids.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod requests;

use kafka_protocol::messages::*;
use keylane_devbroker::{Broker, BrokerOptions, Limits};
use keylane_test_support::{RawClient, raw_batch};
use requests::{
    commit, committed, create, end_offset, in_folder, log_of_partition_0, produce, text, with_client,
};
use uuid::Uuid;

/// DeleteRecords of partition 0 of `t`: (error, low watermark).
fn delete_before(client: &mut RawClient, offset: i64) -> (i16, i64) {
    let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(offset);
    let topic = delete_records_request::DeleteRecordsTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    let answer = client.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic])).unwrap();
    let partition = &answer.topics[0].partitions[0];
    (partition.error_code, partition.low_watermark)
}

/// A fetch of partition 0 of `t`: (error, first offset, bytes of records).
fn fetch(client: &mut RawClient, offset: i64) -> (i16, i64, usize) {
    let partition = fetch_request::FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1);
    let topic =
        fetch_request::FetchTopic::default().with_topic(text("t").into()).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let answer = client.call(12, &request).unwrap();
    let partition = &answer.responses[0].partitions[0];
    (
        partition.error_code,
        partition.log_start_offset,
        partition.records.as_ref().map_or(0, bytes::Bytes::len),
    )
}

fn topic_id(client: &mut RawClient) -> Uuid {
    let topic = metadata_request::MetadataRequestTopic::default().with_name(Some(text("t").into()));
    let request =
        MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
    client.call(12, &request).unwrap().topics[0].topic_id
}

fn delete_topic(client: &mut RawClient) {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![text("t").into()]);
    assert_eq!(client.call(5, &request).unwrap().responses[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_records_stay_deleted_and_their_room_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let batch = raw_batch(&["a", "b"], None).unwrap();
    let length = batch.len();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let fill = move |client: &mut RawClient| {
        assert_eq!(create(client), 0);
        (0..5).for_each(|n| assert_eq!(produce(client, batch.clone()), (0, n * 2, None)));
        assert_eq!(delete_before(client, 5), (0, 5));
        assert_eq!(fetch(client, 4), (1, -1, 0), "below the low watermark");
        assert_eq!(fetch(client, 5), (0, 5, 3 * length), "the batch of the offsets 4 and 5 is whole");
    };
    with_client(&broker, fill).await;
    broker.stop().await;
    let log = log_of_partition_0(folder.path());
    assert_eq!(std::fs::metadata(&log).unwrap().len() as usize, 3 * length);

    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, move |client| {
        assert_eq!(fetch(client, 4).0, 1);
        assert_eq!(fetch(client, 5), (0, 5, 3 * length));
        assert_eq!(delete_before(client, -1), (0, 10), "all of it");
    })
    .await;
    broker.stop().await;
    assert_eq!(std::fs::metadata(&log).unwrap().len(), 0);

    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(end_offset(client), 10, "an empty partition goes on where it was");
        assert_eq!(fetch(client, 0).0, 1);
        assert_eq!(produce(client, raw_batch(&["c"], None).unwrap()), (0, 10, None));
    })
    .await;
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    assert_eq!(with_client(&broker, end_offset).await, 11);
    broker.stop().await;
}

/// The journal knows of the deletion before the log's file is written anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_records_are_deleted_deletes_them_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        (0..3).for_each(|n| assert_eq!(produce(client, raw_batch(&["a"], None).unwrap()), (0, n, None)));
    })
    .await;
    let log = log_of_partition_0(folder.path());
    let before = std::fs::read(&log).unwrap();
    with_client(&broker, |client| assert_eq!(delete_before(client, 2), (0, 2))).await;
    broker.stop().await;
    std::fs::write(&log, &before).unwrap();

    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(fetch(client, 1).0, 1);
        assert_eq!(fetch(client, 2).1, 2);
    })
    .await;
    broker.stop().await;
    assert_eq!(std::fs::metadata(&log).unwrap().len() as usize, before.len() / 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_records_makes_room_in_a_full_broker() {
    let value = "x".repeat(1000);
    let batch = raw_batch(&[&value], None).unwrap();
    let limits = Limits { total_bytes: batch.len() as u64 * 2, ..Limits::default() };
    let broker = Broker::start(BrokerOptions { limits, ..BrokerOptions::default() }).await.unwrap();
    with_client(&broker, move |client| {
        assert_eq!(create(client), 0);
        (0..2).for_each(|n| assert_eq!(produce(client, batch.clone()), (0, n, None)));
        assert_eq!(produce(client, batch.clone()).0, 44);
        assert_eq!(delete_before(client, 1), (0, 1));
        assert_eq!(produce(client, batch.clone()), (0, 2, None));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_keeps_its_id_and_its_successor_has_another() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let first = with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        assert_eq!(produce(client, raw_batch(&["a"], None).unwrap()), (0, 0, None));
        assert_eq!(commit(client, 1, "m"), 0);
        assert_eq!(delete_before(client, 1), (0, 1));
        topic_id(client)
    })
    .await;
    broker.stop().await;

    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let second = with_client(&broker, move |client| {
        assert_eq!(topic_id(client), first);
        delete_topic(client);
        assert_eq!(create(client), 0);
        topic_id(client)
    })
    .await;
    assert_ne!(first, second);
    broker.stop().await;

    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, move |client| {
        assert_eq!(topic_id(client), second);
        assert_eq!(fetch(client, 0), (0, 0, 0), "the deleted topic's low watermark is not its own");
        assert_eq!(committed(client), (-1, String::new()));
    })
    .await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        assert_eq!(create(client), 0);
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("max.message.bytes"))
            .with_value(Some(text("100")));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        assert_eq!(client.call(1, &request).unwrap().responses[0].error_code, 0);
    })
    .await;
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    with_client(&broker, |client| {
        let large = raw_batch(&[&"x".repeat(100)], None).unwrap();
        assert_eq!(produce(client, large).0, 10, "MESSAGE_TOO_LARGE");
    })
    .await;
    broker.stop().await;
}

/// A journal that has grown is written anew; the commit that comes just then must be in it.
#[tokio::test(flavor = "multi_thread")]
async fn the_commit_that_has_the_journal_rewritten_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("offsets.journal");
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    let watched = journal.clone();
    let last = with_client(&broker, move |client| {
        assert_eq!(create(client), 0);
        let metadata = "\u{20ac}".repeat(4096);
        let mut length = 0;
        for offset in 0..3_000 {
            assert_eq!(commit(client, offset, &metadata), 0);
            let now = std::fs::metadata(&watched).unwrap().len();
            if now < length {
                return offset;
            }
            length = now;
        }
        0
    })
    .await;
    assert!(last > 0, "the journal was never rewritten");
    broker.stop().await;
    let broker = Broker::start(in_folder(folder.path())).await.unwrap();
    assert_eq!(with_client(&broker, committed).await.0, last);
    broker.stop().await;
}
