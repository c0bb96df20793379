//! Requests about one topic `t` and one group `g`, and brokers that keep files.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use keylane_devbroker::{Broker, BrokerOptions};
use keylane_test_support::RawClient;

pub(crate) fn text(s: &str) -> StrBytes {
    StrBytes::from_string(s.to_owned())
}

/// Produces one batch to partition 0 of `t`: (error, base offset, message).
pub(crate) fn produce(client: &mut RawClient, batch: Bytes) -> (i16, i64, Option<String>) {
    let data = produce_request::PartitionProduceData::default().with_records(Some(batch));
    let topic = produce_request::TopicProduceData::default()
        .with_name(text("t").into())
        .with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let answer = client.call(9, &request).unwrap();
    let partition = &answer.responses[0].partition_responses[0];
    let message = partition.error_message.as_ref().map(ToString::to_string);
    (partition.error_code, partition.base_offset, message)
}

pub(crate) fn create(client: &mut RawClient) -> i16 {
    let topic = create_topics_request::CreatableTopic::default()
        .with_name(text("t").into())
        .with_num_partitions(2)
        .with_replication_factor(1);
    client.call(7, &CreateTopicsRequest::default().with_topics(vec![topic])).unwrap().topics[0].error_code
}

pub(crate) fn end_offset(client: &mut RawClient) -> i64 {
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic = list_offsets_request::ListOffsetsTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    let answer = client.call(5, &ListOffsetsRequest::default().with_topics(vec![topic])).unwrap();
    answer.topics[0].partitions[0].offset
}

pub(crate) fn commit(client: &mut RawClient, offset: i64, metadata: &str) -> i16 {
    let partition = offset_commit_request::OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(metadata)));
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(text("g").into())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    client.call(7, &request).unwrap().topics[0].partitions[0].error_code
}

pub(crate) fn committed(client: &mut RawClient) -> (i64, String) {
    let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
        .with_name(text("t").into())
        .with_partition_indexes(vec![0]);
    let request =
        OffsetFetchRequest::default().with_group_id(text("g").into()).with_topics(Some(vec![topic]));
    let answer = client.call(5, &request).unwrap();
    let partition = &answer.topics[0].partitions[0];
    (partition.committed_offset, partition.metadata.clone().unwrap_or_default().to_string())
}

pub(crate) fn in_folder(folder: &Path) -> BrokerOptions {
    BrokerOptions { data: Some(folder.to_owned()), ..BrokerOptions::default() }
}

pub(crate) async fn with_client<T: Send + 'static>(
    broker: &Broker,
    work: impl FnOnce(&mut RawClient) -> T + Send + 'static,
) -> T {
    let bootstrap = broker.bootstrap();
    let run = move || work(&mut RawClient::connect(&bootstrap).unwrap());
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub(crate) fn log_of_partition_0(folder: &Path) -> PathBuf {
    let topic = std::fs::read_dir(folder.join("topics")).unwrap().next().unwrap().unwrap().path();
    topic.join("0.log")
}
