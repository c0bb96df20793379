//! How many letters there are, and what has become of them.

use std::collections::BTreeMap;

use super::Dlq;
use super::reader::{Bounds, Reader};
use crate::error::KafkaError;
use crate::redrive::Progress;

/// The letters in one partition of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionLetters {
    /// The dead-letter topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// How many records it holds.
    pub letters: u64,
    /// How many of them have been redriven.
    pub redriven: u64,
    /// How many have not.
    pub waiting: u64,
    /// Those that have not, by the class of their last failure; `?` where a letter does not say.
    pub classes: BTreeMap<String, u64>,
    /// Those that have not and name another handler, or none.
    pub foreign: u64,
}

/// What stands for a class that a letter does not tell.
const UNKNOWN_CLASS: &str = "?";
/// Classes told apart. There are fewer; but anybody may write a header.
const CLASSES_MAX: usize = 32;
/// The longest name of a class, in bytes.
const CLASS_BYTES_MAX: usize = 64;

impl PartitionLetters {
    fn count(&mut self, class: Option<String>) {
        let class = class.filter(|class| {
            self.classes.contains_key(class)
                || (class.len() <= CLASS_BYTES_MAX && self.classes.len() < CLASSES_MAX)
        });
        *self.classes.entry(class.unwrap_or_else(|| UNKNOWN_CLASS.to_owned())).or_default() += 1;
    }
}

pub(super) fn list(dlq: &Dlq) -> Result<Vec<PartitionLetters>, KafkaError> {
    let reader = Reader::new(&dlq.kafka)?;
    let progress = Progress::read(&reader, &dlq.fleet, &dlq.handler, None)?;
    let mut lists = Vec::new();
    for topic in &dlq.topics {
        let partitions = reader.partitions(topic)?;
        let id = reader.topic_id(topic)?;
        for partition in partitions {
            let Bounds { low, end } = reader.bounds(topic, partition)?;
            let done = progress.of(id.as_deref(), partition);
            let mut list =
                PartitionLetters { topic: topic.clone(), partition, ..PartitionLetters::default() };
            let mut reading = reader.open(topic, partition, low..end)?;
            while let Some(letter) = reading.next()? {
                list.letters += 1;
                if done.contains(letter.offset) {
                    list.redriven += 1;
                    continue;
                }
                let story = letter.story();
                list.waiting += 1;
                list.foreign += u64::from(story.handler.as_deref() != Some(dlq.handler.as_str()));
                list.count(story.class);
            }
            lists.push(list);
        }
    }
    Ok(lists)
}
