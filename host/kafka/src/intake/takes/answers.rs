//! What the database has answered, and what of it still counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keylane_engine::{ClaimsError, Hold, Lease, Token, TopicPartition};

use super::super::loss::MEND_BESIDE_DATABASE;
use super::super::start::{Take, Want};
use super::super::topics::TopicWatch;
use super::{Pending, Settling, Step, Takes, Trouble};

/// Time before the ends of a log that were not told are asked for again.
const MEASURE_AGAIN: Duration = Duration::from_secs(1);

/// What came of looking at the answers.
#[derive(Default)]
pub(in super::super) struct Heard {
    /// To be read now.
    pub(in super::super) ready: Vec<Take>,
    /// The tokens of takes that came to nothing.
    pub(in super::super) over: Vec<Token>,
    /// Whether there is something to be asked at once.
    pub(in super::super) is_due: bool,
}

impl Takes {
    /// Takes the answers that have come, and hands out what is taken and can be read now.
    pub(in super::super) fn hear(&mut self, topics: &mut TopicWatch, lease: &Lease, now: Instant) -> Heard {
        let mut heard = Heard::default();
        self.hear_settlings(&mut heard, now);
        self.hear_takes(&mut heard, now);
        self.hand_out(&mut heard, topics, lease, now);
        heard
    }

    fn hear_settlings(&mut self, heard: &mut Heard, now: Instant) {
        let mut answered = Vec::new();
        for (topic, settling) in &mut self.settling {
            answered.extend(settling.question.answer().map(|answer| (topic.clone(), answer)));
        }
        for (topic, answer) in answered {
            match answer {
                Ok(starts) => self.note_starts(&topic, &starts, heard, now),
                Err(error) => self.note_no_starts(&topic, error, now),
            }
            self.settling.remove(&topic);
        }
    }

    fn note_starts(
        &mut self,
        topic: &Arc<str>,
        starts: &BTreeMap<i32, i64>,
        heard: &mut Heard,
        now: Instant,
    ) {
        let Some(Settling { topic_id, .. }) = self.settling.get(topic) else { return };
        let topic_id = *topic_id;
        for partition in self.waiting_for_starts_of(topic) {
            let Some(floor) = starts.get(&partition.partition).copied() else {
                let words = "it settled the topic's starts, and none of this partition".to_owned();
                self.set_back(&partition, Trouble::Database(words), now);
                continue;
            };
            if let Some(pending) = self.pending.get_mut(&partition) {
                (pending.step, pending.want) = (Step::Due, Want::Settled { topic_id, floor });
                heard.is_due = true;
            }
        }
    }

    /// All partitions of the topic wait equally long, so that they are asked about together.
    fn note_no_starts(&mut self, topic: &Arc<str>, error: ClaimsError, now: Instant) {
        let trouble = Trouble::of(error);
        let mut until = None;
        for partition in self.waiting_for_starts_of(topic) {
            let pause = self.setbacks.note(&partition, now);
            let until = *until.get_or_insert(now + pause);
            self.wait(&partition, trouble.clone(), until);
        }
    }

    fn waiting_for_starts_of(&self, topic: &Arc<str>) -> Vec<TopicPartition> {
        let waits = |(partition, pending): &(&TopicPartition, &Pending)| {
            partition.topic == *topic && matches!(pending.step, Step::Settling)
        };
        self.pending.iter().filter(waits).map(|(partition, _)| partition.clone()).collect()
    }

    fn hear_takes(&mut self, heard: &mut Heard, now: Instant) {
        let mut answered = Vec::new();
        for (partition, pending) in &mut self.pending {
            if let Step::Taking { question, .. } = &mut pending.step {
                answered.extend(question.answer().map(|answer| (partition.clone(), answer)));
            }
        }
        for (partition, answer) in answered {
            self.note_take(&partition, answer, heard, now);
        }
    }

    fn note_take(
        &mut self,
        partition: &TopicPartition,
        answer: Result<Option<Hold>, ClaimsError>,
        heard: &mut Heard,
        now: Instant,
    ) {
        let Some(pending) = self.pending.get_mut(partition) else { return };
        let Step::Taking { take, .. } = std::mem::replace(&mut pending.step, Step::Due) else { return };
        let token = take.token;
        match answer {
            Ok(Some(Hold { fence, restored, floor, position })) => {
                let take = Take { fence: Some(fence), restored, floor, position, ..take };
                pending.step = Step::Taken { take, asked: None };
                return;
            }
            Ok(None) => {
                let former = std::mem::replace(&mut pending.want, Want::Settle { topic_id: take.topic_id });
                if let Want::Settled { .. } = former {
                    let words = "it does not know a start that it settled a moment ago".to_owned();
                    self.set_back(partition, Trouble::Database(words), now);
                } else {
                    heard.is_due = true;
                }
            }
            Err(error) => self.set_back(partition, Trouble::of(error), now),
        }
        heard.over.push(token);
    }

    /// What has come to nothing while it was taken is due again.
    fn hand_out(&mut self, heard: &mut Heard, topics: &mut TopicWatch, lease: &Lease, now: Instant) {
        let is_taken =
            |(_, pending): &(&TopicPartition, &Pending)| matches!(pending.step, Step::Taken { .. });
        let taken: Vec<TopicPartition> =
            self.pending.iter().filter(is_taken).map(|(partition, _)| partition.clone()).collect();
        for partition in taken {
            let Some(pending) = self.pending.get_mut(&partition) else { continue };
            let Step::Taken { take, asked } = &mut pending.step else { continue };
            let id = topics.id_of(&partition.topic);
            if !lease.holds() || id.is_some_and(|id| id.contradicts(&take.topic_id)) {
                heard.over.push(take.token);
                heard.is_due = true;
                pending.step = Step::Due;
                continue;
            }
            if id.is_none() || !is_measured(take, asked, topics, now) {
                continue;
            }
            topics.forget_edges(&partition);
            if let Some(Pending { step: Step::Taken { take, .. }, .. }) = self.pending.remove(&partition) {
                heard.ready.push(take);
            }
        }
    }
}

/// Whether it is known how what has ended stands to the log. Nothing but a floor need not be compared: the
/// client finds a position outside of the log by itself. What has ended above it, though, would have other
/// records passed over where the log was cut and written on. And where the leader is known of a lower place
/// only, the client is positioned there, and would not find it.
fn is_measured(take: &mut Take, asked: &mut Option<Instant>, topics: &mut TopicWatch, now: Instant) -> bool {
    let claimed_to = take.restored.ended.last().map(|last| last.end);
    let base = take.restored.base;
    let is_read_from_below = take.position.is_some_and(|position| position.offset < base);
    let Some(ended_to) = claimed_to.or(is_read_from_below.then_some(base)) else { return true };
    let partition = &take.partition;
    let unanswered = topics.edges(partition).is_none() && !topics.is_asking_edges(partition);
    if asked.is_none_or(|at| unanswered && now.saturating_duration_since(at) > MEASURE_AGAIN) {
        *asked = Some(now);
        topics.ask_edges(partition);
        return false;
    }
    let Some((_, high)) = topics.edges(partition) else { return false };
    if ended_to > high {
        take.fault = Some(format!(
            "the handler's database says that events up to offset {} have ended, but the log ends at {high}: \
             it was cut, and records that were handled are gone. {MEND_BESIDE_DATABASE}",
            ended_to - 1,
        ));
    }
    true
}
