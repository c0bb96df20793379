//! Has the client ask the brokers whether logs were cut since they were read (KIP-320).
//!
//! A log may be cut and written on while nobody reads: an unclean election does that. What is read at a known
//! offset then are other records, and nothing in them tells. The leader's epoch does, which is kept beside the
//! floor or the group's commit: the broker knows where the records of each leader end. The client asks it when
//! it is told to seek, not where a partition is assigned, and again whenever the leader changes. If the log was
//! cut it says so instead of reading on ([`super::loss`]); a broker that does not know the question is not
//! asked, and the partition is read.
//!
//! Who waits: the partition, which is not read before, and the thread for the client alone, for at most
//! [`SEEK_LIMIT`]. Seeking outdates what was fetched before, so that nothing is read twice. A client that takes
//! no seek may have stopped at an error of the partition, which stands in its queue: that is heard, or the
//! partition would wait for ever.

use std::time::{Duration, Instant};

use keylane_engine::LogPosition;
use rdkafka::consumer::Consumer;
use rdkafka::{Offset, TopicPartitionList};

use super::poller::Poller;
use crate::native;

/// The longest that the client may take to note where it is to seek: it does no more in that time.
const SEEK_LIMIT: Duration = Duration::from_millis(100);
/// Time before what the client did not take is tried again: it may not have begun with the partition yet.
const SEEK_AGAIN: Duration = Duration::from_millis(50);

impl Poller {
    /// Has what is to be checked checked, all of it together.
    pub(super) fn check_positions(&mut self) {
        if Instant::now() < self.next_check {
            return;
        }
        let mut list = TopicPartitionList::new();
        for feed in self.feeds.iter().filter(|feed| feed.fault.is_none() && feed.trouble.is_none()) {
            let Some(LogPosition { offset, leader_epoch }) = feed.unchecked else { continue };
            let (topic, partition) = (&feed.partition.topic, feed.partition.partition);
            if list.add_partition_offset(topic, partition, Offset::Offset(offset)).is_ok() {
                native::set_leader_epoch(&mut list, leader_epoch);
            }
        }
        if list.count() == 0 {
            return;
        }
        let sought = self.parts.consumer.seek_partitions(list, SEEK_LIMIT);
        let mut taken = 0;
        for element in sought.iter().flat_map(TopicPartitionList::elements) {
            let is_it = |number, topic: &str| number == element.partition() && topic == element.topic();
            let mut feeds = self.feeds.iter_mut();
            let feed = feeds.find(|feed| is_it(feed.partition.partition, &feed.partition.topic));
            match (feed, element.error()) {
                (Some(feed), Ok(())) => {
                    feed.unchecked = None;
                    taken += 1;
                }
                (Some(feed), Err(_)) => feed.hear_errors(),
                (None, _) => {}
            }
        }
        let group = self.parts.config.group.as_str();
        tracing::debug!(group, taken, ?sought, "positions are checked by their leaders");
        self.next_check = Instant::now() + SEEK_AGAIN;
    }
}
