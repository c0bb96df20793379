//! A transactional producer by hand: topic `t`, partition by number, group `g`.

#![allow(dead_code, reason = "each test binary uses some of it")]

use kafka_protocol::messages::*;
use keylane_test_support::{RawClient, RawProducer, raw_transactional_batch};

use crate::requests::text;

/// A producer as the broker let it in.
#[derive(Clone)]
pub(crate) struct Txn {
    name: String,
    id: i64,
    pub(crate) epoch: i16,
}

impl Txn {
    pub(crate) fn begin(client: &mut RawClient, name: &str, timeout_ms: i32) -> Self {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(text(name).into()))
            .with_transaction_timeout_ms(timeout_ms);
        loop {
            let given = client.call(4, &request).unwrap();
            if given.error_code == 0 {
                return Self { name: name.to_owned(), id: given.producer_id.0, epoch: given.producer_epoch };
            }
            assert_eq!(given.error_code, 51, "markers of the producer before are missing, nothing else");
        }
    }

    pub(crate) fn add(&self, client: &mut RawClient, partition: i32) -> i16 {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
            .with_name(text("t").into())
            .with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(text(&self.name).into())
            .with_v3_and_below_producer_id(self.id.into())
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        let answer = client.call(3, &request).unwrap();
        answer.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    }

    /// One record in partition 0: (error, offset).
    pub(crate) fn produce(&self, client: &mut RawClient, value: &str, sequence: i32) -> (i16, i64) {
        self.produce_to(client, 0, value, sequence)
    }

    pub(crate) fn produce_to(
        &self,
        client: &mut RawClient,
        partition: i32,
        value: &str,
        sequence: i32,
    ) -> (i16, i64) {
        let producer = RawProducer { id: self.id, epoch: self.epoch, first_sequence: sequence };
        let data = produce_request::PartitionProduceData::default()
            .with_index(partition)
            .with_records(Some(raw_transactional_batch(&[value], producer, false).unwrap()));
        let topic = produce_request::TopicProduceData::default()
            .with_name(text("t").into())
            .with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(Some(text(&self.name).into()))
            .with_acks(-1)
            .with_topic_data(vec![topic]);
        let answer = client.call(9, &request).unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    }

    pub(crate) fn add_group(&self, client: &mut RawClient) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(text(&self.name).into())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_group_id(text("g").into());
        client.call(3, &request).unwrap().error_code
    }

    /// Gives the group's offset of partition 0.
    pub(crate) fn commit(&self, client: &mut RawClient, offset: i64) -> i16 {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("m")));
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(text("t").into())
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(text(&self.name).into())
            .with_group_id(text("g").into())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_topics(vec![topic]);
        client.call(3, &request).unwrap().topics[0].partitions[0].error_code
    }

    pub(crate) fn end(&self, client: &mut RawClient, commit: bool) -> i16 {
        let request = EndTxnRequest::default()
            .with_transactional_id(text(&self.name).into())
            .with_producer_id(self.id.into())
            .with_producer_epoch(self.epoch)
            .with_committed(commit);
        client.call(3, &request).unwrap().error_code
    }
}

/// Where readers of committed records of partition 0 stop.
pub(crate) fn stable_offset(client: &mut RawClient) -> i64 {
    let partition = list_offsets_request::ListOffsetsPartition::default().with_timestamp(-1);
    let topic = list_offsets_request::ListOffsetsTopic::default()
        .with_name(text("t").into())
        .with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_isolation_level(1).with_topics(vec![topic]);
    client.call(5, &request).unwrap().topics[0].partitions[0].offset
}

/// What such a reader gets of a partition, from its start.
pub(crate) fn fetch(client: &mut RawClient, partition: i32) -> fetch_response::PartitionData {
    let partition =
        fetch_request::FetchPartition::default().with_partition(partition).with_partition_max_bytes(i32::MAX);
    let topic =
        fetch_request::FetchTopic::default().with_topic(text("t").into()).with_partitions(vec![partition]);
    let request =
        FetchRequest::default().with_isolation_level(1).with_max_bytes(i32::MAX).with_topics(vec![topic]);
    client.call(11, &request).unwrap().responses.remove(0).partitions.remove(0)
}

/// The first offsets of the aborted transactions of partition 0.
pub(crate) fn aborted(client: &mut RawClient) -> Vec<i64> {
    fetch(client, 0).aborted_transactions.unwrap().iter().map(|aborted| aborted.first_offset).collect()
}

pub(crate) fn delete_topic(client: &mut RawClient) {
    let topics = vec![text("t").into()];
    client.call(5, &DeleteTopicsRequest::default().with_topic_names(topics)).unwrap();
}
