//! Requests about records: written, read, looked up, deleted.

use bytes::Bytes;
use kafka_protocol::messages::*;
use uuid::Uuid;

use super::{Raw, one, text};

pub(super) const PRODUCE: i16 = 9;
/// The last version of Fetch that names topics, and the first that has their ids.
const FETCH_BY_NAME: i16 = 12;
const FETCH_BY_ID: i16 = 13;
pub(crate) const READ_UNCOMMITTED: i8 = 0;
pub(crate) const READ_COMMITTED: i8 = 1;

impl Raw {
    /// Produces to partition 0: (error, base offset).
    pub(crate) fn produce(&mut self, topic: &str, acks: i16, batch: Bytes) -> anyhow::Result<(i16, i64)> {
        let answer = self.client.call(PRODUCE, &produce_request(topic, acks, batch))?;
        let partition = one(one(answer.responses)?.partition_responses)?;
        Ok((partition.error_code, partition.base_offset))
    }

    /// Fetches partition 0 by name.
    pub(crate) fn fetch(
        &mut self,
        topic: &str,
        offset: i64,
        max_bytes: i32,
        wait_ms: i32,
    ) -> anyhow::Result<fetch_response::PartitionData> {
        self.fetch_isolated(topic, READ_UNCOMMITTED, offset, max_bytes, wait_ms)
    }

    /// The same with an isolation level.
    pub(crate) fn fetch_isolated(
        &mut self,
        topic: &str,
        isolation: i8,
        offset: i64,
        max_bytes: i32,
        wait_ms: i32,
    ) -> anyhow::Result<fetch_response::PartitionData> {
        let named = fetch_request::FetchTopic::default().with_topic(text(topic).into());
        self.fetch_topic(FETCH_BY_NAME, named, isolation, offset, (max_bytes, wait_ms))
    }

    /// Fetches partition 0 by id, from the start.
    pub(crate) fn fetch_by_id(&mut self, id: Uuid) -> anyhow::Result<fetch_response::PartitionData> {
        let topic = fetch_request::FetchTopic::default().with_topic_id(id);
        self.fetch_topic(FETCH_BY_ID, topic, READ_UNCOMMITTED, 0, (1 << 20, 0))
    }

    fn fetch_topic(
        &mut self,
        version: i16,
        topic: fetch_request::FetchTopic,
        isolation: i8,
        offset: i64,
        (max_bytes, wait_ms): (i32, i32),
    ) -> anyhow::Result<fetch_response::PartitionData> {
        let partition = fetch_request::FetchPartition::default()
            .with_fetch_offset(offset)
            .with_partition_max_bytes(max_bytes)
            .with_current_leader_epoch(-1)
            .with_last_fetched_epoch(-1);
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(wait_ms)
            .with_isolation_level(isolation)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes)
            .with_session_epoch(-1)
            .with_topics(vec![topic.with_partitions(vec![partition])]);
        let answer = self.client.call(version, &request)?;
        anyhow::ensure!(answer.error_code == 0, "fetch: {}", answer.error_code);
        one(one(answer.responses)?.partitions)
    }

    /// ListOffsets of partition 0: (error, offset, timestamp).
    pub(crate) fn list_offset(&mut self, topic: &str, timestamp: i64) -> anyhow::Result<(i16, i64, i64)> {
        self.list_offset_of(topic, 0, timestamp)
    }

    /// ListOffsets of partition 0 as a reader of committed records: (error, offset, timestamp).
    pub(crate) fn list_committed(&mut self, topic: &str, timestamp: i64) -> anyhow::Result<(i16, i64, i64)> {
        self.list(topic, 0, timestamp, READ_COMMITTED)
    }

    pub(super) fn list_offset_of(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> anyhow::Result<(i16, i64, i64)> {
        self.list(topic, partition, timestamp, READ_UNCOMMITTED)
    }

    fn list(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
        isolation: i8,
    ) -> anyhow::Result<(i16, i64, i64)> {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(timestamp)
            .with_current_leader_epoch(-1);
        let topic = list_offsets_request::ListOffsetsTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(isolation)
            .with_topics(vec![topic]);
        let partition = one(one(self.client.call(6, &request)?.topics)?.partitions)?;
        Ok((partition.error_code, partition.offset, partition.timestamp))
    }

    /// DeleteRecords of partition 0: (error, low watermark).
    pub(crate) fn delete_records(&mut self, topic: &str, before: i64) -> anyhow::Result<(i16, i64)> {
        let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(before);
        let topic = delete_records_request::DeleteRecordsTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        let partition = one(one(self.client.call(2, &request)?.topics)?.partitions)?;
        Ok((partition.error_code, partition.low_watermark))
    }
}

pub(super) fn produce_request(topic: &str, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = produce_request::PartitionProduceData::default().with_records(Some(batch));
    let topic = produce_request::TopicProduceData::default()
        .with_name(text(topic).into())
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}
