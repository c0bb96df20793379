//! Taking partitions of a handler with a write database: when the membership is proven, the database is
//! asked for the partition, beside the polling. What it answers is where reading starts; what the group has
//! committed is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keylane_engine::{
    Assignment, Claims, ClaimsError, GapSet, Hold, RestoredNote, Token, TopicPartition, Wake, payload_beside,
    restore,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Poller;
use super::commits::Item;
use super::feed::{Feed, TOPIC};
use super::taking::TOPIC_ID;
use crate::coordinator::Committed;
use crate::draw::Draw;
use crate::mutation::Mutation;
use crate::trace::Note;

/// The wait before a partition is taken again that was refused or overtaken; it doubles.
const WAIT_FIRST_MS: u64 = 100;
const WAIT_MAX_MS: u64 = 1_600;
/// Who has held a partition for so long begins with the first wait again.
const HELD_FOR: Duration = Duration::from_secs(2);

/// The database was asked for a partition.
pub struct Asked {
    item: Item,
    answer: JoinHandle<Result<Hold, ClaimsError>>,
}

/// What stands between a partition and its next take.
#[derive(Default)]
pub struct Holding {
    asked: BTreeMap<i32, Asked>,
    /// Not before this time, and how long the wait was.
    again: BTreeMap<i32, (Instant, u64)>,
}

impl Holding {
    /// Whether nothing stands in the way of the next try.
    pub fn is_due(&self, partition: i32) -> bool {
        let waits = self.again.get(&partition).is_some_and(|(until, _)| Instant::now() < *until);
        !waits && !self.asked.contains_key(&partition)
    }

    /// The partition is not this host's any more. What was asked is not heard.
    pub fn forget(&mut self, partition: i32) {
        self.asked.remove(&partition);
        self.again.remove(&partition);
    }
}

impl Poller {
    /// What is committed to prove the membership: the offset that the group has, beside the database's name.
    pub(super) fn report_of(&self, partition: i32, committed: &BTreeMap<i32, Committed>) -> Option<Item> {
        let claims = self.claims.as_ref()?;
        let (place, number) = (self.place(partition), self.process.next_number());
        let offset = committed.get(&partition).map_or(0, |committed| committed.offset);
        Some(Item { place, number, offset, payload: payload_beside(claims.database()), truncated: false })
    }

    /// Asks the database for partitions whose membership is proven.
    pub(super) fn ask_for(&mut self, items: Vec<Item>, committed: &BTreeMap<i32, Committed>) {
        let Some(claims) = self.claims.clone() else { return };
        let partitions = 0..self.process.plan.log.partitions;
        let offered: Vec<(i32, i64)> =
            partitions.map(|partition| (partition, offer(committed.get(&partition)))).collect();
        for item in items {
            let (claims, offered, partition) = (claims.clone(), offered.clone(), item.place.partition);
            let answer = tokio::spawn(async move { take(claims, partition, &offered).await });
            self.holding.asked.insert(partition, Asked { item, answer });
        }
    }

    /// Starts the owners of partitions that the database gave, unless the group has gone on meanwhile.
    pub(super) async fn take_what_is_held(&mut self) {
        let done = self.holding.asked.extract_if(.., |_, asked| asked.answer.is_finished());
        let done: Vec<(i32, Asked)> = done.collect();
        for (partition, Asked { item, answer }) in done {
            let answer = answer.await.expect("the model's take does not fall");
            match answer {
                Ok(_) if !self.lease.holds() => self.process.saw("taken too late"),
                Ok(hold) => self.hold(item, hold),
                Err(error) => {
                    self.process.saw(match error {
                        ClaimsError::Unavailable(_) => "take: database away",
                        _ => "take: in doubt",
                    });
                    self.try_later(partition);
                }
            }
        }
    }

    /// The next take of a partition comes later, with jitter, and later still each time.
    pub(super) fn try_later(&mut self, partition: i32) {
        let before = self.holding.again.get(&partition).map(|(until, wait_ms)| (until.elapsed(), *wait_ms));
        let wait_ms = match before {
            Some((held, wait_ms)) if held < HELD_FOR => (wait_ms * 2).min(WAIT_MAX_MS),
            _ => WAIT_FIRST_MS,
        };
        let mut draw = Draw::of(&[self.process.plan.seed, 14, self.process.next_number()]);
        let jittered = Duration::from_millis(draw.between(wait_ms / 2, wait_ms));
        self.holding.again.insert(partition, (Instant::now() + jittered, wait_ms));
    }

    fn hold(&mut self, item: Item, hold: Hold) {
        let Item { place, number, offset, .. } = item;
        let Hold { fence, mut restored, .. } = hold;
        if self.process.mutated(Mutation::BelievesTheGroup) {
            restored = GapSet::at(offset);
        }
        self.process.saw(if restored.ended.is_empty() { "held: a floor" } else { "held: claims" });
        let GapSet { base, ended } = restored.clone();
        self.process.note(Note::Taken { place, number, base, ended, note: format!("{:?}", fence.epoch) });
        let token = Token::numbered(number);
        let doorbell = self.doorbell.clone();
        let wake: Wake = Arc::new(move || doorbell.notify_one());
        let inbox = self.owners.assign(Assignment {
            partition: TopicPartition { topic: TOPIC.into(), partition: place.partition },
            token,
            restored,
            fence: Some(fence),
            refused: None,
            topic_id: TOPIC_ID,
            lease: self.lease.clone(),
            wake,
        });
        self.process.controls.lock().unwrap().insert(place, (number, inbox.control()));
        self.waiting.remove(&place.partition);
        self.feeds.push(Feed::new(place, number, token, inbox, base));
    }
}

/// Where a partition would start if nothing is settled. A report of ours says nothing of that: the database
/// that it belongs to was settled then, and what stands now is an older copy of it.
fn offer(committed: Option<&Committed>) -> i64 {
    let Some(committed) = committed else { return 0 };
    let restored = restore(committed.offset, &committed.metadata, TOPIC_ID);
    if matches!(restored.note, RestoredNote::OfDatabase(_)) { 0 } else { restored.gap.base }
}

async fn take(claims: Arc<dyn Claims>, partition: i32, offered: &[(i32, i64)]) -> Result<Hold, ClaimsError> {
    let partition = TopicPartition { topic: TOPIC.into(), partition };
    if let Some(hold) = claims.take(&partition, TOPIC_ID).await? {
        return Ok(hold);
    }
    claims.settle(TOPIC, TOPIC_ID, offered).await?;
    let held = claims.take(&partition, TOPIC_ID).await?;
    held.ok_or_else(|| ClaimsError::Unknown("settled, and nothing stands".to_owned()))
}
