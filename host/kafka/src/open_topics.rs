//! Which topics take records, asked before a transaction has a part in one that takes none.
//!
//! For a topic that is not there, or a partition without a leader, the client itself would wait as long as it may,
//! and every record of the transaction with it, and then say no more than that it was too long. Worse, brokers end no
//! transaction without the partition's leader once that has a part in it, and its producer begins no other before.
//!
//! It is a precaution: where nobody answers, topics that took records when they were last asked for are written to.
//!
//! Who owns: whoever sends. Who waits: its transaction, for so long as it may. What bounds: one entry for each topic
//! that handlers may write to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::dlq::{Found, REQUEST_LIMIT, Reader};
use crate::error::KafkaError;
use crate::transaction::Fault;

/// How long it counts that a topic had leaders for all its partitions.
const SEEN_FOR: Duration = Duration::from_secs(5);

/// A way to ask, and what was answered just now.
pub(crate) struct OpenTopics {
    reader: Reader,
    /// The longest that one question takes here.
    limit: Duration,
    /// When topics were seen that take records.
    seen: BTreeMap<String, Instant>,
}

/// Why a topic takes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Shut {
    /// The topic's, or a partition's silence.
    pub(crate) fault: Fault,
    pub(crate) reason: String,
}

impl OpenTopics {
    /// For transactions that may be open for so long: a question takes no more than half of that.
    pub(crate) fn new(reader: Reader, transaction_limit: Duration) -> Self {
        Self { reader, limit: REQUEST_LIMIT.min(transaction_limit / 2), seen: BTreeMap::new() }
    }

    /// Asks for those of these topics that were not seen just now. Answers which take nothing, and why.
    ///
    /// # Errors
    /// When nobody answers and a topic was not seen since something was not taken.
    pub(crate) fn shut<'a>(
        &mut self,
        topics: impl Iterator<Item = &'a str>,
    ) -> Result<BTreeMap<&'a str, Shut>, KafkaError> {
        let is_new = |topic: &&str| self.seen.get(*topic).is_none_or(|at| at.elapsed() >= SEEN_FOR);
        // Those that were never seen come first: without an answer for them the others need not be asked for.
        let mut unseen: Vec<&str> = topics.collect::<BTreeSet<_>>().into_iter().filter(is_new).collect();
        unseen.sort_by_key(|topic| self.seen.contains_key(*topic));
        let mut shut = BTreeMap::new();
        for topic in unseen {
            let (fault, reason) = match self.reader.look(topic, self.limit) {
                Ok(Some(Found { leaderless, .. })) if leaderless.is_empty() => {
                    self.seen.insert(topic.to_owned(), Instant::now());
                    continue;
                }
                Ok(Some(Found { leaderless, .. })) => (
                    Fault::Silence,
                    format!(
                        "no leader for the partitions {leaderless:?}; it is written to when all have one"
                    ),
                ),
                Ok(None) => (Fault::Topic, "there is no such topic; create it".to_owned()),
                Err(error @ KafkaError::Topic { can_retry: true, .. }) => (Fault::Silence, error.to_string()),
                Err(error @ KafkaError::Topic { .. }) => (Fault::Topic, error.to_string()),
                Err(_) if self.seen.contains_key(topic) => return Ok(shut),
                Err(error) => return Err(error),
            };
            shut.insert(topic, Shut { fault, reason });
        }
        Ok(shut)
    }

    /// Something was not taken: whatever was seen before tells nothing of what follows.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;

    use super::*;
    use crate::config::KafkaConfig;

    fn open_topics(mock: &MockCluster<'_, DefaultProducerContext>) -> OpenTopics {
        let reader = Reader::new(&KafkaConfig::new(mock.bootstrap_servers())).unwrap();
        OpenTopics::new(reader, Duration::from_secs(2))
    }

    impl OpenTopics {
        /// As if all had been seen so long ago that they are asked for again.
        fn age(&mut self) {
            let long_ago = Instant::now().checked_sub(SEEN_FOR).unwrap();
            self.seen.values_mut().for_each(|at| *at = long_ago);
        }
    }

    #[test]
    fn a_leader_is_asked_for_again_after_a_while() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("outputs", 2, 1).unwrap();
        let mut topics = open_topics(&mock);
        assert!(topics.shut(["outputs"].into_iter()).unwrap().is_empty());
        mock.partition_leader("outputs", 1, None).unwrap();
        assert!(topics.shut(["outputs"].into_iter()).unwrap().is_empty(), "it was seen just now");
        topics.age();
        let shut = topics.shut(["outputs"].into_iter()).unwrap().remove("outputs").unwrap();
        assert_eq!(shut.fault, Fault::Silence, "{}", shut.reason);
        assert!(shut.reason.contains("no leader for the partitions [1]"), "{}", shut.reason);
        mock.partition_leader("outputs", 1, Some(1)).unwrap();
        assert!(topics.shut(["outputs"].into_iter()).unwrap().is_empty());
    }

    #[test]
    fn a_topic_that_is_not_there_is_no_silence() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("outputs", 1, 1).unwrap();
        // A mock cluster makes topics that it is asked for.
        mock.topic_error("gone", rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            .unwrap();
        let mut topics = open_topics(&mock);
        let shut = topics.shut(["gone", "outputs", "gone"].into_iter()).unwrap();
        let told: Vec<_> = shut.iter().map(|(topic, shut)| (*topic, shut.fault)).collect();
        assert_eq!(told, [("gone", Fault::Topic)]);
    }

    /// The question is a precaution: that it has no answer must not keep what is known to go from going.
    #[test]
    fn brokers_that_do_not_answer_hold_up_unknown_topics_alone() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("known", 1, 1).unwrap();
        mock.create_topic("other", 1, 1).unwrap();
        let mut topics = open_topics(&mock);
        assert!(topics.shut(["known"].into_iter()).unwrap().is_empty());
        topics.age();
        mock.broker_down(1).unwrap();
        let begun = Instant::now();
        assert!(topics.shut(["known"].into_iter()).unwrap().is_empty());
        topics.shut(["known", "other"].into_iter()).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(4), "a question takes a second, half a transaction");
        topics.forget();
        topics.shut(["known"].into_iter()).unwrap_err();
    }
}
