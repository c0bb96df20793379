//! How many partitions the topics have, and when the client is to hear that it is another number.
//!
//! A client of the classic protocol (librdkafka 2.12) that hears of a wider topic joins its group anew at once,
//! from whatever state it is in. Amid a revocation, which lasts as long as the runs that are out, it then keeps
//! a note of an assignment that was to follow and never does (`rkcg_rebalance_incr_assignment`), and while it
//! has that note it passes over every further call of the group to join: the member beats, commits and keeps
//! what it has, and the whole group stands still. The only thing that tells it at a time of its own choice is its
//! regular refresh, so that is off; what it asks for before it joins is safe, and so is a renewed subscription,
//! which it puts off until a rebalance under way is over.
//!
//! So the brokers are asked beside it (see `topics`), and when the group has been at rest for [`AT_REST`], the
//! client is led to look for itself and to subscribe once more: where nothing is new that does nothing.
//! Who waits: the polling thread, for one answer per changed topic, at most [`PROBE_LIMIT`] each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;

use super::poller::Poller;
use super::reasons::PROBE_LIMIT;
use crate::config::GroupProtocol;

/// How long the group must not have changed anything here.
const AT_REST: Duration = Duration::from_secs(2);
/// Time before a try that failed is made again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What the client was led to see. Owned by the polling thread.
pub(super) struct Widths {
    seen: BTreeMap<String, usize>,
    next_try: Instant,
}

impl Widths {
    pub(super) fn new(now: Instant) -> Self {
        Self { seen: BTreeMap::new(), next_try: now }
    }

    pub(super) fn group_changed(&mut self, now: Instant) {
        self.next_try = self.next_try.max(now + AT_REST);
    }
}

impl Poller {
    /// Has the client take up what is new about its topics, if this is the time for it. With KIP-848 the
    /// coordinator looks after that.
    pub(super) fn follow_widths(&mut self, now: Instant) {
        let widths = self.parts.topics.widths();
        let is_classic = self.parts.config.group_protocol == GroupProtocol::Classic;
        if !is_classic || !self.joined || now < self.widths.next_try || *widths == self.widths.seen {
            return;
        }
        let widths = widths.clone();
        match self.show(&widths) {
            Ok(()) => self.widths.seen = widths,
            Err(reason) => {
                self.widths.next_try = now + TRY_AGAIN;
                tracing::debug!(reason, "the client is not shown its topics' partitions yet");
            }
        }
    }

    fn show(&self, widths: &BTreeMap<String, usize>) -> Result<(), String> {
        let consumer = &self.parts.consumer;
        for (topic, width) in widths {
            if self.widths.seen.get(topic) == Some(width) {
                continue;
            }
            let metadata =
                consumer.fetch_metadata(Some(topic), PROBE_LIMIT).map_err(|error| error.to_string())?;
            let found = metadata.topics().first().map_or(0, |told| told.partitions().len());
            if found != *width {
                return Err(format!("{topic} has {width} partitions, but another broker tells {found}"));
            }
        }
        let names: Vec<&str> = self.parts.config.all_topics().collect();
        consumer.subscribe(&names).map_err(|error| error.to_string())
    }
}
