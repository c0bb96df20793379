//! Requests about transactions, each sent as one producer with its transactional id, number and epoch.

use bytes::Bytes;
use kafka_protocol::messages::*;
use keylane_test_support::{RawProducer, raw_transactional_batch};

use super::records::{PRODUCE, produce_request};
use super::{Raw, one, text};
use crate::clients::until;

const INIT: i16 = 4;
const FIND: i16 = 3;
/// What a coordinator is asked for.
pub(super) const GROUPS: i8 = 0;
const TRANSACTIONS: i8 = 1;
/// A version that tells a fenced producer from an invalid epoch, for the four others.
const LATE: i16 = 3;
/// The longest a transaction may take where a check does not say otherwise.
const TIMEOUT_MS: i32 = 60_000;
/// Not an error of the producer's: the coordinator is still loading, or markers are being written.
const NOT_YET: [i16; 4] = [14, 15, 16, 51];

/// A producer as the coordinator knows it.
#[derive(Debug, Clone)]
pub(crate) struct Txn {
    pub(crate) name: String,
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Txn {
    /// The same with another epoch.
    pub(crate) fn at(&self, epoch: i16) -> Self {
        Self { epoch, ..self.clone() }
    }

    /// One batch of its own.
    pub(crate) fn batch(&self, values: &[&str], first_sequence: i32) -> anyhow::Result<Bytes> {
        raw_transactional_batch(values, self.raw(first_sequence), false)
    }

    pub(crate) fn raw(&self, first_sequence: i32) -> RawProducer {
        RawProducer { id: self.id, epoch: self.epoch, first_sequence }
    }
}

impl Raw {
    /// InitProducerId: (error, number, epoch). `known` is what the producer believes to be.
    pub(crate) fn init(
        &mut self,
        name: Option<&str>,
        timeout_ms: i32,
        known: Option<(i64, i16)>,
    ) -> anyhow::Result<(i16, i64, i16)> {
        let (id, epoch) = known.unwrap_or((-1, -1));
        let request = InitProducerIdRequest::default()
            .with_transactional_id(name.map(|name| text(name).into()))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(id.into())
            .with_producer_epoch(epoch);
        let answer = self.client.call(INIT, &request)?;
        Ok((answer.error_code, answer.producer_id.0, answer.producer_epoch))
    }

    /// Asks until there is one: Kafka makes its own topics when somebody first asks for a coordinator of their kind.
    pub(super) fn find_coordinator(&mut self, name: &str, kind: i8) -> anyhow::Result<()> {
        let request = FindCoordinatorRequest::default().with_key(text(name)).with_key_type(kind);
        until("a coordinator", || Ok(self.client.call(FIND, &request)?.error_code == 0))
    }

    /// Becomes the producer of this transactional id, as soon as the broker lets it.
    pub(crate) fn begin(&mut self, name: &str) -> anyhow::Result<Txn> {
        self.begin_with(name, TIMEOUT_MS)
    }

    pub(crate) fn begin_with(&mut self, name: &str, timeout_ms: i32) -> anyhow::Result<Txn> {
        for kind in [GROUPS, TRANSACTIONS] {
            self.find_coordinator(name, kind)?;
        }
        let mut given = (0, 0, 0);
        until("a producer", || {
            given = self.init(Some(name), timeout_ms, None)?;
            Ok(!NOT_YET.contains(&given.0))
        })?;
        anyhow::ensure!(given.0 == 0, "InitProducerId for {name}: {}", given.0);
        Ok(Txn { name: name.to_owned(), id: given.1, epoch: given.2 })
    }

    /// AddPartitionsToTxn for partitions of one topic each: an error for every one.
    pub(crate) fn add(&mut self, txn: &Txn, partitions: &[(&str, i32)]) -> anyhow::Result<Vec<i16>> {
        let mut codes = Vec::new();
        until("a transaction that takes partitions", || {
            codes = self.add_in(LATE, txn, partitions)?;
            Ok(codes.iter().all(|code| !NOT_YET.contains(code)))
        })?;
        Ok(codes)
    }

    pub(crate) fn add_in(
        &mut self,
        version: i16,
        txn: &Txn,
        partitions: &[(&str, i32)],
    ) -> anyhow::Result<Vec<i16>> {
        let topic = |(name, partition): &(&str, i32)| {
            add_partitions_to_txn_request::AddPartitionsToTxnTopic::default()
                .with_name(text(name).into())
                .with_partitions(vec![*partition])
        };
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(text(&txn.name).into())
            .with_v3_and_below_producer_id(txn.id.into())
            .with_v3_and_below_producer_epoch(txn.epoch)
            .with_v3_and_below_topics(partitions.iter().map(topic).collect());
        let answer = self.client.call(version, &request)?;
        let mut codes = Vec::new();
        // The answer's order is not the request's.
        for (name, _) in partitions {
            let topics = &answer.results_by_topic_v3_and_below;
            let topic = topics.iter().find(|topic| topic.name.as_str() == *name);
            let topic = topic.ok_or_else(|| anyhow::anyhow!("no answer for {name}"))?;
            codes.push(one(topic.results_by_partition.clone())?.partition_error_code);
        }
        Ok(codes)
    }

    /// AddOffsetsToTxn.
    pub(crate) fn add_group(&mut self, txn: &Txn, group: &str) -> anyhow::Result<i16> {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(text(&txn.name).into())
            .with_producer_id(txn.id.into())
            .with_producer_epoch(txn.epoch)
            .with_group_id(text(group).into());
        let mut code = 0;
        until("a transaction that takes a group", || {
            code = self.client.call(LATE, &request)?.error_code;
            Ok(!NOT_YET.contains(&code))
        })?;
        Ok(code)
    }

    /// TxnOffsetCommit of one partition.
    pub(crate) fn commit_in(
        &mut self,
        txn: &Txn,
        group: &str,
        member: Option<(&str, i32)>,
        (topic, partition): (&str, i32),
        (offset, metadata): (i64, &str),
    ) -> anyhow::Result<i16> {
        let (id, generation) = member.unwrap_or(("", -1));
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text(metadata)));
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default()
            .with_name(text(topic).into())
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(text(&txn.name).into())
            .with_group_id(text(group).into())
            .with_producer_id(txn.id.into())
            .with_producer_epoch(txn.epoch)
            .with_member_id(text(id))
            .with_generation_id(generation)
            .with_topics(vec![topic]);
        let mut code = 0;
        until("a coordinator that takes offsets", || {
            code = one(one(self.client.call(LATE, &request)?.topics)?.partitions)?.error_code;
            Ok(!NOT_YET.contains(&code))
        })?;
        Ok(code)
    }

    /// EndTxn.
    pub(crate) fn end(&mut self, txn: &Txn, commit: bool) -> anyhow::Result<i16> {
        let mut code = 0;
        until("an end", || {
            code = self.end_in(LATE, txn, commit)?;
            Ok(!NOT_YET.contains(&code))
        })?;
        Ok(code)
    }

    pub(crate) fn end_in(&mut self, version: i16, txn: &Txn, commit: bool) -> anyhow::Result<i16> {
        let request = EndTxnRequest::default()
            .with_transactional_id(text(&txn.name).into())
            .with_producer_id(txn.id.into())
            .with_producer_epoch(txn.epoch)
            .with_committed(commit);
        Ok(self.client.call(version, &request)?.error_code)
    }

    /// Produces to partition 0 under a transactional id: (error, base offset).
    pub(crate) fn produce_in(&mut self, name: &str, topic: &str, batch: Bytes) -> anyhow::Result<(i16, i64)> {
        let request = produce_request(topic, -1, batch).with_transactional_id(Some(text(name).into()));
        let partition = one(one(self.client.call(PRODUCE, &request)?.responses)?.partition_responses)?;
        Ok((partition.error_code, partition.base_offset))
    }

    /// What a group committed for partition 0: (error, offset, metadata). `stable` asks not to be told
    /// anything while a transaction may still change it.
    pub(crate) fn committed_stable(
        &mut self,
        group: &str,
        topic: &str,
        stable: bool,
    ) -> anyhow::Result<(i16, i64, String)> {
        let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
            .with_name(text(topic).into())
            .with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(text(group).into())
            .with_topics(Some(vec![topic]))
            .with_require_stable(stable);
        let partition = one(one(self.client.call(7, &request)?.topics)?.partitions)?;
        let metadata = partition.metadata.unwrap_or_default().to_string();
        Ok((partition.error_code, partition.committed_offset, metadata))
    }

    /// Waits until the coordinator has written the markers of the transaction that ended last.
    pub(crate) fn await_end(&mut self, topic: &str, end: i64) -> anyhow::Result<()> {
        until("the markers", || Ok(self.list_committed(topic, -1)?.1 == end))
    }
}
