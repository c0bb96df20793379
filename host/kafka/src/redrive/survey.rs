//! The look at all letters before any of them moves.

use super::judge::{Judge, Judgement};
use super::progress::Progress;
use super::{PartitionRedrive, RedriveOptions, RedriveReport};
use crate::dlq::{Bounds, Dlq, Letter, Reader};
use crate::error::KafkaError;

/// One partition of a dead-letter topic, as far as it is to be redriven.
pub(super) struct Part {
    pub(super) topic: String,
    /// None where the broker does not tell it.
    id: Option<String>,
    pub(super) partition: i32,
    /// Letters from this offset on came later than the redrive.
    pub(super) end: i64,
}

/// What would be sent, and from where.
pub(super) struct Survey {
    pub(super) report: RedriveReport,
    pub(super) parts: Vec<Part>,
}

/// Looks at everything that was asked for.
///
/// What is known to be redriven may be out of date here, which the redrive itself mends. It errs towards
/// letters that are to be sent, so if there is none here there is none at all.
pub(super) fn survey(dlq: &Dlq, options: &RedriveOptions) -> Result<Survey, KafkaError> {
    let reader = Reader::new(&dlq.kafka)?;
    let progress = Progress::read(&reader, &dlq.fleet, &dlq.handler, None)?;
    let judge = Judge::new(dlq, options);
    let mut survey = Survey { report: RedriveReport::default(), parts: Vec::new() };
    let mut foreign: Option<(Letter, String, u64)> = None;
    for topic in &dlq.topics {
        let partitions = reader.partitions(topic)?;
        let id = reader.topic_id(topic)?;
        for partition in partitions {
            let Bounds { low, end } = reader.bounds(topic, partition)?;
            let part = Part { topic: topic.clone(), id: id.clone(), partition, end };
            let done = progress.of(id.as_deref(), partition);
            let mut row = part.row();
            let mut reading = reader.open(topic, partition, low..end)?;
            while let Some(letter) = reading.next()? {
                match judge.judge(&letter, &done) {
                    Judgement::Send(_) => row.sent += 1,
                    Judgement::Redriven => row.redriven += 1,
                    Judgement::LeftOut => row.left_out += 1,
                    Judgement::HeldBack => row.held_back += 1,
                    Judgement::Foreign(reason) => {
                        foreign.get_or_insert((letter, reason, 0)).2 += 1;
                    }
                }
            }
            survey.report.partitions.push(row);
            survey.parts.push(part);
        }
    }
    match foreign {
        Some((letter, reason, count)) => Err(foreign_error(&letter, dlq, reason, count)),
        None => Ok(survey),
    }
}

impl Part {
    /// A row of the report, with nothing in it yet.
    pub(super) fn row(&self) -> PartitionRedrive {
        PartitionRedrive {
            topic: self.topic.clone(),
            partition: self.partition,
            ..PartitionRedrive::default()
        }
    }

    /// The topic's id, which has to be what it was at the look.
    ///
    /// Asked after letters were read and before they are noted under it: if it still is the same then, they
    /// are letters of that topic and of none that took its name since. This is as good as what the broker
    /// that answers knows. One that has not heard of a new topic yet answers the old id; a healthy one is
    /// behind for the time of one fetch of the cluster's metadata (half a second at most), one that is cut
    /// off until the controller fences it (`broker.session.timeout.ms`, 9 s). A narrower window Kafka does
    /// not offer: neither a record read nor a transaction names the id that it was of.
    pub(super) fn known_id(&self, reader: &Reader, handler: &str) -> Result<String, KafkaError> {
        let failed = |reason: &str, can_retry| KafkaError::Redrive {
            handler: handler.to_owned(),
            reason: format!("{reason}: {}", self.topic),
            can_retry,
        };
        let id = match reader.topic_id(&self.topic) {
            Err(KafkaError::MissingTopics { .. }) => {
                return Err(failed("the dead-letter topic was deleted, or is being made again", true));
            }
            id => id?,
        };
        match (id, &self.id) {
            (Some(now), Some(before)) if now == *before => Ok(now),
            (Some(_), Some(_)) => {
                Err(failed("the dead-letter topic was deleted and made again meanwhile", true))
            }
            _ => Err(failed(
                "the broker tells no id of the dead-letter topic, under which progress is kept",
                false,
            )),
        }
    }
}

pub(super) fn foreign_error(letter: &Letter, dlq: &Dlq, reason: String, count: u64) -> KafkaError {
    KafkaError::Foreign {
        topic: letter.topic.clone(),
        partition: letter.partition,
        offset: letter.offset,
        handler: dlq.handler.clone(),
        reason,
        count,
    }
}
