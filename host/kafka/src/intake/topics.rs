//! What is asked of the brokers about topics: their ids, how many partitions they have, and where the logs of
//! partitions in trouble begin and end.
//!
//! A topic that is deleted and made again under its name is another topic, and nothing that was committed
//! or fetched under the first says anything of the second. Only its id tells (KIP-516). So the ids are
//! asked for at each assignment, when a position is not in the log, and every [`ASK_EVERY`]. Until the
//! next answer a new topic may pass for the old one: at most that long. Records read meanwhile are read
//! again from 0.
//!
//! Who waits: nobody; answers come on a queue. What bounds: one regular question at a time, and one for
//! each assignment and each partition in trouble, all answered within the client's limit.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use keylane_engine::{TopicId, TopicPartition};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::group::Group;
use super::reasons::PROBE_LIMIT;
use crate::native::{Answer, Extreme, Inquiries, SessionTimes, TopicFacts};

/// Time between two questions for the topics' ids.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Time before a question that failed is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Where the log of a partition begins and ends, as far as the answers have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Edges {
    low: Option<i64>,
    high: Option<i64>,
}

/// Owned by the polling thread.
pub(super) struct TopicWatch {
    inquiries: Inquiries<Group>,
    topics: Vec<String>,
    ids: BTreeMap<String, TopicId>,
    widths: BTreeMap<String, usize>,
    /// Topics that had another id before.
    remade: BTreeSet<String>,
    /// Why there is no id, in the brokers' words.
    trouble: Option<String>,
    /// The number of the last question.
    number: usize,
    /// The last question for ids, until it is answered.
    open: Option<usize>,
    /// Ids count from answers to this question or later ones.
    fresh_from: usize,
    answered: usize,
    next_ask: Instant,
    edges_asked: BTreeMap<usize, (TopicPartition, Extreme)>,
    edges: BTreeMap<TopicPartition, Edges>,
    session_times: Option<Option<SessionTimes>>,
    /// Whom to ask for ids, if not the broker that the client chooses, which may be the one that is away.
    broker: Option<i32>,
    /// Whether the last question for ids found nobody.
    unheard: bool,
}

impl TopicWatch {
    pub(super) fn new<'a>(inquiries: Inquiries<Group>, topics: impl Iterator<Item = &'a str>) -> Self {
        let mut topics: Vec<String> = topics.map(str::to_owned).collect();
        topics.sort_unstable();
        topics.dedup();
        Self {
            inquiries,
            topics,
            ids: BTreeMap::new(),
            widths: BTreeMap::new(),
            remade: BTreeSet::new(),
            trouble: None,
            number: 0,
            open: None,
            fresh_from: 0,
            answered: 0,
            next_ask: Instant::now(),
            edges_asked: BTreeMap::new(),
            edges: BTreeMap::new(),
            session_times: None,
            broker: None,
            unheard: false,
        }
    }

    /// Asks for the ids now; what was told before does not count any more.
    pub(super) fn renew(&mut self) {
        self.ask_ids();
        self.fresh_from = self.number;
    }

    /// Asks for the times of a group of KIP-848.
    pub(super) fn ask_session_times(&mut self, group: &str) {
        self.number += 1;
        self.inquiries.ask_session_times(self.number, group);
    }

    /// The group's times, once the coordinator has answered; None inside where it tells none.
    pub(super) fn session_times(&self) -> Option<Option<SessionTimes>> {
        self.session_times
    }

    /// Asks where a partition's log begins and ends.
    pub(super) fn ask_edges(&mut self, partition: &TopicPartition) {
        self.forget_edges(partition);
        for extreme in [Extreme::Low, Extreme::High] {
            self.number += 1;
            self.edges_asked.insert(self.number, (partition.clone(), extreme));
            self.inquiries.ask_offsets(self.number, extreme, [partition]);
        }
    }

    pub(super) fn forget_edges(&mut self, partition: &TopicPartition) {
        self.edges.remove(partition);
        self.edges_asked.retain(|_, (asked, _)| asked != partition);
    }

    /// Where the log begins and ends, once both were told.
    pub(super) fn edges(&self, partition: &TopicPartition) -> Option<(i64, i64)> {
        let edges = self.edges.get(partition)?;
        edges.low.zip(edges.high)
    }

    /// The topic's id, if it was told since the last [`Self::renew`].
    pub(super) fn id_of(&self, topic: &str) -> Option<TopicId> {
        (self.answered >= self.fresh_from).then(|| self.ids.get(topic).copied()).flatten()
    }

    /// How many partitions the topics have that were told of.
    pub(super) fn widths(&self) -> &BTreeMap<String, usize> {
        &self.widths
    }

    /// Why an id is missing, if the brokers gave a reason.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Takes answers, and asks again if it is time.
    pub(super) fn turn(&mut self, now: Instant) {
        while let Some(answer) = self.inquiries.answer() {
            self.take(answer, now);
        }
        if self.open.is_none() && now >= self.next_ask {
            self.ask_ids();
        }
    }

    fn ask_ids(&mut self) {
        if std::mem::take(&mut self.unheard) {
            let other = |topic: &String| self.inquiries.broker_that_answers(topic, PROBE_LIMIT);
            self.broker = if self.broker.is_none() { self.topics.first().and_then(other) } else { None };
        }
        self.number += 1;
        self.open = Some(self.number);
        self.inquiries.try_topics(self.number, self.broker, self.topics.iter().map(String::as_str));
    }

    fn take(&mut self, answer: Answer, now: Instant) {
        match answer {
            Answer::Topics { number, topics } => {
                if number < self.answered {
                    return;
                }
                let mut trouble = None;
                for (topic, told) in topics {
                    match told {
                        Ok(facts) => self.note(topic, facts),
                        Err(code) => trouble = Some(self.missing(topic, code)),
                    }
                }
                self.close(number, if trouble.is_some() { ASK_AGAIN } else { ASK_EVERY }, now);
                self.answered = number;
                self.trouble = trouble;
            }
            Answer::Offsets { number, offsets } => {
                let Some((partition, extreme)) = self.edges_asked.remove(&number) else { return };
                let told = offsets.into_iter().find_map(|(_, told)| told.ok());
                let edges = self.edges.entry(partition).or_default();
                match extreme {
                    Extreme::Low => edges.low = told,
                    Extreme::High => edges.high = told,
                }
            }
            Answer::SessionTimes(told) => self.session_times = Some(told),
            Answer::Failed { number, code } => {
                if self.edges_asked.remove(&number).is_none() {
                    self.trouble = Some(format!("the topics' ids are not told: {code}"));
                    self.unheard = true;
                    self.close(number, ASK_AGAIN, now);
                    if does_not_tell(code) {
                        self.ids =
                            self.topics.iter().map(|topic| (topic.clone(), TopicId::UNKNOWN)).collect();
                        self.answered = self.answered.max(number);
                    }
                }
            }
        }
    }

    fn note(&mut self, topic: String, TopicFacts { id, width }: TopicFacts) {
        self.widths.insert(topic.clone(), width);
        if self.ids.insert(topic.clone(), id).is_some_and(|former| former.contradicts(&id)) {
            self.remade.insert(topic);
        }
    }

    /// Whether the topic was deleted and made again while it was watched.
    pub(super) fn is_remade(&self, topic: &str) -> bool {
        self.remade.contains(topic)
    }

    fn missing(&mut self, topic: String, code: Code) -> String {
        let words = format!("the id of the topic {topic:?} is not told: {code}");
        if does_not_tell(code) {
            self.ids.insert(topic, TopicId::UNKNOWN);
        }
        words
    }

    fn close(&mut self, number: usize, pause: Duration, now: Instant) {
        if self.open == Some(number) {
            self.open = None;
            self.next_ask = now + pause;
        }
    }

    /// Whether a question about this partition's log is out.
    pub(super) fn is_asking_edges(&self, partition: &TopicPartition) -> bool {
        self.edges_asked.values().any(|(asked, _)| asked == partition)
    }
}

/// Whether this broker will never tell an id, so that it has to go without.
fn does_not_tell(code: Code) -> bool {
    matches!(code, Code::UnsupportedFeature | Code::UnsupportedVersion)
}
