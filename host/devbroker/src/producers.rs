//! What a partition remembers of its idempotent producers: their epoch and last five batches.
//!
//! Kafka's rules: a batch that was seen is answered with its old offset and not stored again, the
//! next one must follow on, an older epoch is refused, a newer one starts at sequence 0.

use std::collections::{HashMap, VecDeque};

use kafka_protocol::ResponseError;

use crate::batch::BatchHeader;

/// Batches a producer may have under way, and so how many must be recognised when sent again.
const REMEMBERED_BATCHES: usize = 5;

#[derive(Debug)]
struct Written {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

#[derive(Debug)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Written>,
}

/// The producers of one partition. At most `limit` are remembered.
#[derive(Debug)]
pub(crate) struct Producers {
    limit: usize,
    known: HashMap<i64, Producer>,
}

/// What is to be done with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// It is new.
    Next,
    /// It is stored already, at this offset.
    Repeated(i64),
}

impl Producers {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, known: HashMap::new() }
    }

    /// Judges a batch without remembering it.
    pub(crate) fn judge(&self, header: &BatchHeader) -> Result<Sequence, ResponseError> {
        if header.producer_id < 0 {
            return Ok(Sequence::Next);
        }
        let Some(producer) = self.known.get(&header.producer_id) else {
            return Ok(Sequence::Next);
        };
        if header.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        if header.producer_epoch > producer.epoch {
            let starts = header.base_sequence == 0;
            return if starts { Ok(Sequence::Next) } else { Err(ResponseError::OutOfOrderSequenceNumber) };
        }
        let last = last_sequence(header);
        let seen = |b: &&Written| b.first_sequence == header.base_sequence && b.last_sequence == last;
        if let Some(batch) = producer.batches.iter().find(seen) {
            return Ok(Sequence::Repeated(batch.base_offset));
        }
        match producer.batches.back() {
            Some(batch) if following(batch.last_sequence) != header.base_sequence => {
                Err(ResponseError::OutOfOrderSequenceNumber)
            }
            // Known only by a marker: it has written nothing with this epoch.
            None if header.base_sequence != 0 => Err(ResponseError::OutOfOrderSequenceNumber),
            _ => Ok(Sequence::Next),
        }
    }

    /// The epoch that this producer wrote, or was ended, with last.
    pub(crate) fn epoch(&self, producer_id: i64) -> Option<i16> {
        self.known.get(&producer_id).map(|producer| producer.epoch)
    }

    /// A marker with this epoch was stored: older ones are over, and a newer one begins at sequence 0.
    pub(crate) fn ended(&mut self, producer_id: i64, epoch: i16) {
        let producer = self.ensure(producer_id, epoch);
        if epoch > producer.epoch {
            *producer = Producer { epoch, batches: VecDeque::new() };
        }
    }

    /// Remembers a batch that was stored at `base_offset`.
    pub(crate) fn remember(&mut self, header: &BatchHeader, base_offset: i64) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.ensure(header.producer_id, header.producer_epoch);
        if header.producer_epoch != producer.epoch {
            *producer = Producer { epoch: header.producer_epoch, batches: VecDeque::new() };
        }
        if producer.batches.len() >= REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Written {
            first_sequence: header.base_sequence,
            last_sequence: last_sequence(header),
            base_offset,
        });
    }

    fn ensure(&mut self, id: i64, epoch: i16) -> &mut Producer {
        if !self.known.contains_key(&id) && self.known.len() >= self.limit {
            self.forget_oldest();
        }
        self.known.entry(id).or_insert_with(|| Producer { epoch, batches: VecDeque::new() })
    }

    fn forget_oldest(&mut self) {
        let newest = |p: &Producer| p.batches.back().map_or(i64::MIN, |b| b.base_offset);
        let oldest = self.known.iter().min_by_key(|(_, p)| newest(p)).map(|(id, _)| *id);
        if let Some(id) = oldest {
            self.known.remove(&id);
        }
    }
}

/// Sequences count records and start again at 0 after the largest `i32`.
fn last_sequence(header: &BatchHeader) -> i32 {
    let last = i64::from(header.base_sequence) + i64::from(header.last_offset_delta);
    i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

fn following(sequence: i32) -> i32 {
    sequence.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(epoch: i16, sequence: i32, records: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence: sequence,
        }
    }

    #[test]
    fn a_batch_sent_again_keeps_its_offset_and_a_gap_is_refused() {
        let mut producers = Producers::new(10);
        producers.remember(&header(0, 0, 10), 100);
        assert_eq!(producers.judge(&header(0, 0, 10)), Ok(Sequence::Repeated(100)));
        assert_eq!(producers.judge(&header(0, 10, 1)), Ok(Sequence::Next));
        assert_eq!(producers.judge(&header(0, 11, 1)), Err(ResponseError::OutOfOrderSequenceNumber));
        for i in 1..=5 {
            producers.remember(&header(0, i * 10, 10), 100 + i64::from(i) * 10);
        }
        assert_eq!(producers.judge(&header(0, 0, 10)), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(producers.judge(&header(0, 10, 10)), Ok(Sequence::Repeated(110)));
    }

    #[test]
    fn epochs_only_grow_and_a_new_one_starts_at_zero() {
        let mut producers = Producers::new(10);
        producers.remember(&header(3, 0, 1), 0);
        assert_eq!(producers.judge(&header(2, 1, 1)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(producers.judge(&header(4, 1, 1)), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(producers.judge(&header(4, 0, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn a_marker_fences_older_epochs_and_keeps_the_sequence_of_its_own() {
        let mut producers = Producers::new(10);
        producers.remember(&header(3, 0, 2), 0);
        producers.ended(7, 3);
        assert_eq!(producers.judge(&header(3, 2, 1)), Ok(Sequence::Next));
        assert_eq!(producers.judge(&header(3, 0, 2)), Ok(Sequence::Repeated(0)));
        producers.ended(7, 4);
        assert_eq!(producers.judge(&header(3, 2, 1)), Err(ResponseError::InvalidProducerEpoch));
        assert_eq!(producers.judge(&header(4, 2, 1)), Err(ResponseError::OutOfOrderSequenceNumber));
        assert_eq!(producers.judge(&header(4, 0, 1)), Ok(Sequence::Next));
        assert_eq!(producers.epoch(7), Some(4));
    }

    #[test]
    fn sequences_wrap() {
        let mut producers = Producers::new(10);
        producers.remember(&header(0, i32::MAX - 1, 4), 0);
        assert_eq!(producers.judge(&header(0, 2, 1)), Ok(Sequence::Next));
    }

    #[test]
    fn memory_is_bounded() {
        let mut producers = Producers::new(2);
        for id in 0..5_i64 {
            producers.remember(&BatchHeader { producer_id: id, ..header(0, 0, 1) }, id);
        }
        assert_eq!(producers.known.len(), 2);
        assert!(producers.known.contains_key(&4));
    }
}
