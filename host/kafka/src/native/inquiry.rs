//! Questions to the brokers whose answers come later, on a queue: the polling thread never waits for one.

use std::ffi::{CString, c_char};
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{TopicId, TopicPartition};
use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::{Offset, TopicPartitionList};

use super::queue::{EventQueue, QueueEvent, Ring, opaque};
use super::{text_of, told};

/// The longest a broker may take; every question is answered, if only with a time-out.
const ANSWER_LIMIT_MS: i32 = 5_000;
/// The longest for a question that is asked of another broker if this one is silent.
const FIRST_LIMIT_MS: i32 = 2_000;
/// How the coordinator calls the session time-out of a group of KIP-848.
const SESSION_TIMEOUT: &str = "consumer.session.timeout.ms";
/// And the time between two heartbeats of its members.
const HEARTBEAT_INTERVAL: &str = "consumer.heartbeat.interval.ms";

/// The times of a group of KIP-848, which are the coordinator's and not the members'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTimes {
    /// A member that was not heard for so long is out.
    pub(crate) timeout: Duration,
    /// How often a member is to be heard.
    pub(crate) heartbeat: Duration,
}

/// One end of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extreme {
    /// The oldest record there is.
    Low,
    /// After the newest one.
    High,
}

/// What the brokers tell of a topic that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopicFacts {
    pub(crate) id: TopicId,
    /// How many partitions it has.
    pub(crate) width: usize,
}

/// An answer, with the number of its question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One for each topic that was asked for.
    Topics { number: usize, topics: Vec<(String, Result<TopicFacts, Code>)> },
    /// One for each partition that was asked for.
    Offsets { number: usize, offsets: Vec<(TopicPartition, Result<i64, Code>)> },
    /// The group's own times, where the coordinator tells them.
    SessionTimes(Option<SessionTimes>),
    /// No answer to this question.
    Failed { number: usize, code: Code },
}

/// Asks, and takes the answers. It keeps its consumer alive; drop it before the consumer is to leave its
/// group.
pub(crate) struct Inquiries<C: ConsumerContext> {
    queue: EventQueue<C>,
}

/// What goes with a request.
struct Options(*mut raw::rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: *mut raw::rd_kafka_t, operation: raw::rd_kafka_admin_op_t, number: usize) -> Self {
        // SAFETY: the client is alive. A time-out that is not taken leaves the client's own.
        unsafe {
            let options = raw::rd_kafka_AdminOptions_new(client, operation);
            raw::rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_LIMIT_MS, null_mut(), 0);
            raw::rd_kafka_AdminOptions_set_opaque(options, opaque(number));
            Self(options)
        }
    }

    /// To a broker of one's own choice instead of the one the client chooses, and with less patience.
    fn first_try(self, broker: Option<i32>) -> Self {
        // SAFETY: the options are alive. What is not taken leaves the client's own.
        unsafe {
            raw::rd_kafka_AdminOptions_set_request_timeout(self.0, FIRST_LIMIT_MS, null_mut(), 0);
            if let Some(broker) = broker {
                raw::rd_kafka_AdminOptions_set_broker(self.0, broker, null_mut(), 0);
            }
        }
        self
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed once.
        unsafe { raw::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

impl<C: ConsumerContext> Inquiries<C> {
    /// None only where the client has no memory for it.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>, ring: Ring) -> Option<Self> {
        EventQueue::new(consumer, ring).map(|queue| Self { queue })
    }

    /// Asks what these topics are, each named once.
    pub(crate) fn ask_topics<'a>(&self, number: usize, topics: impl IntoIterator<Item = &'a str>) {
        self.describe(topics, self.options_for_topics(number));
    }

    /// The same, of one broker if one is named, with less patience: it is to be tried again elsewhere.
    pub(crate) fn try_topics<'a>(
        &self,
        number: usize,
        broker: Option<i32>,
        topics: impl IntoIterator<Item = &'a str>,
    ) {
        self.describe(topics, self.options_for_topics(number).first_try(broker));
    }

    /// A broker that answers. Blocks up to the limit.
    pub(crate) fn broker_that_answers(&self, topic: &str, limit: Duration) -> Option<i32> {
        let metadata = self.queue.consumer().fetch_metadata(Some(topic), limit).ok()?;
        Some(metadata.orig_broker_id()).filter(|broker| *broker >= 0)
    }

    fn options_for_topics(&self, number: usize) -> Options {
        let operation = raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        Options::new(self.queue.client(), operation, number)
    }

    fn describe<'a>(&self, topics: impl IntoIterator<Item = &'a str>, options: Options) {
        let names: Vec<CString> = topics.into_iter().filter_map(|name| CString::new(name).ok()).collect();
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        let client = self.queue.client();
        // SAFETY: the pointers name strings that live until the call is over; the client copies them.
        unsafe {
            let topics = raw::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            raw::rd_kafka_DescribeTopics(client, topics, options.0, self.queue.ptr());
            raw::rd_kafka_TopicCollection_destroy(topics);
        }
    }

    /// Asks where the logs of these partitions begin or end.
    pub(crate) fn ask_offsets<'a>(
        &self,
        number: usize,
        extreme: Extreme,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
    ) {
        let ask = match extreme {
            Extreme::Low => Offset::Beginning,
            Extreme::High => Offset::End,
        };
        let mut list = TopicPartitionList::new();
        for one in partitions {
            // Beginning and end are offsets that every list takes.
            let _always = list.add_partition_offset(&one.topic, one.partition, ask);
        }
        let client = self.queue.client();
        let options = Options::new(client, raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, number);
        // SAFETY: client, list and queue are alive; the client copies the list before it returns.
        unsafe { raw::rd_kafka_ListOffsets(client, list.ptr(), options.0, self.queue.ptr()) }
    }

    /// Asks the coordinator for the session time-out of a group of KIP-848.
    pub(crate) fn ask_session_times(&self, number: usize, group: &str) {
        let Ok(group) = CString::new(group) else { return };
        let client = self.queue.client();
        let options =
            Options::new(client, raw::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, number);
        // SAFETY: client and queue are alive, the string is NUL-terminated; the client copies the resource.
        unsafe {
            let kind = raw::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_GROUP;
            let mut resource = raw::rd_kafka_ConfigResource_new(kind, group.as_ptr());
            if resource.is_null() {
                return;
            }
            raw::rd_kafka_DescribeConfigs(client, &raw mut resource, 1, options.0, self.queue.ptr());
            raw::rd_kafka_ConfigResource_destroy(resource);
        }
    }

    /// The next answer, if there is one. Never blocks.
    pub(crate) fn answer(&self) -> Option<Answer> {
        let event = self.queue.poll(Duration::ZERO)?;
        let number = event.number();
        if event.kind() == raw::RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT {
            return Some(Answer::SessionTimes(session_times(&event)));
        }
        if let Some(code) = event.error() {
            return Some(Answer::Failed { number, code });
        }
        match event.kind() {
            raw::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                Some(Answer::Topics { number, topics: topics(&event) })
            }
            raw::RD_KAFKA_EVENT_LISTOFFSETS_RESULT => {
                Some(Answer::Offsets { number, offsets: offsets(&event) })
            }
            _ => None,
        }
    }
}

/// # Safety
/// `first` names `count` pointers that live as long as the answer is used, or `count` is 0.
unsafe fn pointers<'a, T>(first: *mut *const T, count: usize) -> &'a [*const T] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(first, count) }
}

fn topics(event: &QueueEvent) -> Vec<(String, Result<TopicFacts, Code>)> {
    let mut count = 0;
    // SAFETY: the event is alive and of this kind; everything read belongs to it.
    unsafe {
        let result = raw::rd_kafka_event_DescribeTopics_result(event.ptr());
        let topics = raw::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let told_of = |topic: &*const raw::rd_kafka_TopicDescription_t| {
            let name = text_of(raw::rd_kafka_TopicDescription_name(*topic));
            let error = raw::rd_kafka_TopicDescription_error(*topic);
            if let Some(code) = told(raw::rd_kafka_error_code(error)) {
                return (name, Err(code));
            }
            let mut width = 0;
            raw::rd_kafka_TopicDescription_partitions(*topic, &raw mut width);
            let id = raw::rd_kafka_TopicDescription_topic_id(*topic);
            if id.is_null() {
                return (name, Ok(TopicFacts { id: TopicId::UNKNOWN, width }));
            }
            let high = raw::rd_kafka_Uuid_most_significant_bits(id);
            let low = raw::rd_kafka_Uuid_least_significant_bits(id);
            (name, Ok(TopicFacts { id: id_of(high, low), width }))
        };
        pointers(topics, count).iter().map(told_of).collect()
    }
}

/// An id of its two halves, as the protocol has it.
fn id_of(high: i64, low: i64) -> TopicId {
    let bits = u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned());
    TopicId::new(bits.to_be_bytes())
}

fn offsets(event: &QueueEvent) -> Vec<(TopicPartition, Result<i64, Code>)> {
    let mut count = 0;
    // SAFETY: the event is alive and of this kind; everything read belongs to it.
    unsafe {
        let result = raw::rd_kafka_event_ListOffsets_result(event.ptr());
        let infos = raw::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let told_of = |info: &*const raw::rd_kafka_ListOffsetsResultInfo_t| {
            let element = raw::rd_kafka_ListOffsetsResultInfo_topic_partition(*info).as_ref()?;
            let topic = text_of(element.topic).into();
            let partition = TopicPartition { topic, partition: element.partition };
            Some((partition, told(element.err).map_or_else(|| end_of(element.offset), Err)))
        };
        pointers(infos, count).iter().filter_map(told_of).collect()
    }
}

/// What is told as an end of a log. Below zero is none, and the client's own marks lie there.
fn end_of(offset: i64) -> Result<i64, Code> {
    if offset < 0 { Err(Code::NoOffset) } else { Ok(offset) }
}

/// None where the coordinator does not tell, be it too old, too simple, or not allowed to us.
fn session_times(event: &QueueEvent) -> Option<SessionTimes> {
    let mut count = 0;
    // SAFETY: the event is alive and of this kind; everything read belongs to it.
    unsafe {
        let result = raw::rd_kafka_event_DescribeConfigs_result(event.ptr()).as_ref()?;
        let resources = raw::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
        let resource = *pointers(resources, count).first()?;
        if told(raw::rd_kafka_ConfigResource_error(resource)).is_some() {
            return None;
        }
        let entries = raw::rd_kafka_ConfigResource_configs(resource, &raw mut count);
        let told = pointers(entries, count).iter().map(|entry| {
            let name = text_of(raw::rd_kafka_ConfigEntry_name(*entry));
            (name, text_of(raw::rd_kafka_ConfigEntry_value(*entry)))
        });
        times_of(&told.collect::<Vec<_>>())
    }
}

/// The times among a group's settings, if both are there and are numbers.
fn times_of(settings: &[(String, String)]) -> Option<SessionTimes> {
    let time = |name: &str| {
        let (_, value_ms) = settings.iter().find(|(told, _)| told == name)?;
        Some(Duration::from_millis(value_ms.parse().ok()?))
    };
    Some(SessionTimes { timeout: time(SESSION_TIMEOUT)?, heartbeat: time(HEARTBEAT_INTERVAL)? })
}

#[cfg(test)]
mod tests;
