//! Record batches made by hand, with any producer id, epoch and sequence.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{
    Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record, RecordBatchEncoder,
    RecordEncodeOptions, TimestampType,
};

/// Who wrote a batch, as an idempotent producer.
#[derive(Debug, Clone, Copy)]
pub struct RawProducer {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The sequence number of the first record.
    pub first_sequence: i32,
}

/// One uncompressed batch with these values, no keys, and timestamps 1000, 1001, ... ms.
///
/// # Errors
/// The codec refused it.
pub fn raw_batch(values: &[&str], producer: Option<RawProducer>) -> anyhow::Result<Bytes> {
    encoded(values, producer, false, false)
}

/// The same as part of a transaction; `control` claims to be the marker of one, which only brokers write.
///
/// # Errors
/// The codec refused it.
pub fn raw_transactional_batch(
    values: &[&str],
    producer: RawProducer,
    control: bool,
) -> anyhow::Result<Bytes> {
    encoded(values, Some(producer), true, control)
}

fn encoded(
    values: &[&str],
    producer: Option<RawProducer>,
    transactional: bool,
    control: bool,
) -> anyhow::Result<Bytes> {
    let record = |(i, value): (i32, &&str)| Record {
        transactional,
        control,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: producer.map_or(NO_PRODUCER_ID, |p| p.id),
        producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |p| p.epoch),
        timestamp_type: TimestampType::Creation,
        offset: i64::from(i),
        // The encoder ends a batch where the sequence does not go on; only the first one is written.
        sequence: producer.map_or(NO_SEQUENCE, |p| p.first_sequence) + i,
        timestamp: 1000 + i64::from(i),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0_i32..).zip(values).map(record).collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, &records, &options)?;
    Ok(batch.freeze())
}
