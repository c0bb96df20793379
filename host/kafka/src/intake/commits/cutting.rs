//! What the committer does for a handler in cuts: it makes one cut after the other, and no plain commit of
//! new progress.
//!
//! A plain commit and a transaction must not overtake each other: of two commits of one partition the one
//! that the coordinator was given later holds, and the end of a transaction does not change that. So a cut
//! begins only when every plain commit is answered, and a plain one (a proof of life, what partitions start
//! with) is made only while no cut is under way. One that failed on its way may still be carried out: then the
//! next cut waits for a plain one that is acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use keylane_engine::{CutAnswer, OutgoingRecord, Snapshot, Token, TopicId, TopicPartition};
use rdkafka::consumer::Consumer;

use super::cuts::{ANSWER_LIMIT, Asking, Cuts, FAILURES_ORDINARY, Part, Sending, Step};
use super::refusals::refuse;
use super::{Committer, Item, checked};
use crate::cuts::{Cut, CutEnd};
use crate::intake::feed::Feed;

/// Time between two looks whether the last cut of partitions that are given up has ended.
const LAST_LOOK: Duration = Duration::from_millis(1);

impl Committer {
    /// Goes on with cuts. Answers whether none is under way, so that a plain commit may be made. A cut proves the
    /// membership as well as that does; where one has failed to, the next waits until that is made up for.
    pub(super) fn turn_cuts<'a>(
        &mut self,
        feeds: impl Iterator<Item = &'a Feed> + Clone,
        due: bool,
        now: Instant,
    ) -> bool {
        self.turn_cuts_of(feeds.clone(), feeds, due, now)
    }

    /// The same, where only some of the owners are asked for more. Of what is under way all hear: whoever had a part
    /// in it would give out once more what it does not know to be committed.
    fn turn_cuts_of<'a>(
        &mut self,
        feeds: impl Iterator<Item = &'a Feed> + Clone,
        asked: impl Iterator<Item = &'a Feed>,
        due: bool,
        now: Instant,
    ) -> bool {
        let Some(mut cuts) = self.cuts.take() else { return true };
        self.hear_end(&mut cuts, feeds.clone());
        let proves_first = (due && self.proof_failed) || self.astray;
        let is_due = cuts.is_resting() && cuts.cutter.is_open() && now >= cuts.next_at;
        let may_begin = is_due && !cuts.held_off && !proves_first;
        if may_begin && self.sent.is_empty() && !self.is_lost() {
            self.ask(&mut cuts, feeds.clone(), asked, now);
        }
        self.gather(&mut cuts, feeds, now);
        let may_commit = cuts.is_resting() && due;
        self.cuts = Some(cuts);
        may_commit
    }

    /// Asks those of the owners who have anything.
    fn ask<'a>(
        &self,
        cuts: &mut Cuts,
        feeds: impl Iterator<Item = &'a Feed>,
        asked: impl Iterator<Item = &'a Feed>,
        now: Instant,
    ) {
        let owned: BTreeSet<Token> = feeds.map(|feed| feed.token).collect();
        cuts.forget_all_but(&owned);
        let wanted: Vec<&Feed> = asked.filter(|feed| cuts.wants(feed, now)).collect();
        if wanted.is_empty() || !self.lease.holds() {
            return;
        }
        let at = self.lease.now();
        let Some(metadata) = self.consumer.group_metadata() else { return };
        let ask = |feed: &Feed| Some((feed.token, feed.inbox.ask_cut()?));
        let asked = wanted.into_iter().filter_map(ask).collect();
        cuts.step = Step::Asking(Asking { metadata, begun: now, at, asked, made: Vec::new() });
    }

    /// Takes the owners' answers, and sends when all are there, or late.
    fn gather<'a>(&mut self, cuts: &mut Cuts, feeds: impl Iterator<Item = &'a Feed> + Clone, now: Instant) {
        let Step::Asking(asking) = &mut cuts.step else { return };
        let made = &mut asking.made;
        asking.asked.retain_mut(|(token, question)| match question.answer() {
            CutAnswer::Pending => true,
            CutAnswer::Gone => false,
            CutAnswer::Made(snapshot) => {
                made.push((*token, *snapshot));
                false
            }
        });
        let is_late = now.saturating_duration_since(asking.begun) >= ANSWER_LIMIT;
        if !asking.asked.is_empty() && !is_late {
            return;
        }
        let Step::Asking(asking) = std::mem::replace(&mut cuts.step, Step::Resting) else { return };
        // The late ones may have answered by now: what they told is not known.
        cuts.owed.extend(asking.asked.iter().map(|(token, _)| *token));
        self.send(cuts, feeds, asking);
    }

    fn send<'a>(&mut self, cuts: &mut Cuts, feeds: impl Iterator<Item = &'a Feed>, asking: Asking) {
        let Asking { metadata, begun, at, made, .. } = asking;
        let (parts, bytes) = self.parts(cuts, feeds, made);
        if parts.is_empty() {
            return cuts.rest(begun);
        }
        if let Some(reason) = self.why_not_owned() {
            return cuts.fail(&parts, reason.to_owned());
        }
        let cut = Cut {
            metadata,
            offsets: parts.iter().map(|part| part.item.handed.clone()).collect(),
            records: parts
                .iter()
                .flat_map(|part| &part.endings)
                .map(|(_, records)| records.clone())
                .collect(),
        };
        match cuts.cutter.hand_over(cut) {
            Ok(()) => {
                self.last_sent = Some(at);
                cuts.take_turn(parts.iter().map(|part| part.item.token));
                cuts.step = Step::Sending(Sending { begun, at, bytes, parts });
            }
            Err(reason) => cuts.fail(&parts, reason),
        }
    }

    /// Why what the thread believes to own may be another's, if it may: it may not have heard of that yet.
    fn why_not_owned(&self) -> Option<&'static str> {
        if self.is_lost() {
            return Some("the group has given the partitions to others");
        }
        (!self.lease.holds()).then_some("no commit was acknowledged within the session time-out")
    }

    /// What of the owners' answers is still owned and goes into this cut, and what its records weigh.
    fn parts<'a>(
        &self,
        cuts: &mut Cuts,
        feeds: impl Iterator<Item = &'a Feed>,
        mut made: Vec<(Token, Snapshot)>,
    ) -> (Vec<Part>, usize) {
        // Those that were left out before come first, and those of a cut that failed last.
        made.sort_by_key(|(token, _)| cuts.turn_of(*token));
        let owned: BTreeMap<Token, &Feed> =
            feeds.filter(|feed| !feed.inbox.ownership().is_lost()).map(|feed| (feed.token, feed)).collect();
        let (mut bytes, mut alone) = (0, false);
        let mut parts = Vec::with_capacity(made.len());
        for (token, snapshot) in made {
            // One that was given up meanwhile has nothing to say any more.
            let Some(feed) = owned.get(&token) else { continue };
            let is_suspect = cuts.suspects.contains(&token);
            if bytes >= cuts.bytes_max() || alone || (is_suspect && !parts.is_empty()) {
                cuts.owed.insert(token);
                continue;
            }
            cuts.owed.remove(&token);
            let Some(part) = self.part(feed, snapshot) else { continue };
            let records = part.endings.iter().flat_map(|(_, records)| records.iter());
            let topics = records.clone().map(|record| record.topic.as_str());
            if cuts.closed.turns_away(&feed.partition, topics, Instant::now()) {
                cuts.owed.insert(token);
                continue;
            }
            bytes += records.map(OutgoingRecord::weight_bytes).sum::<usize>();
            alone = is_suspect;
            parts.push(part);
        }
        (parts, bytes)
    }

    /// What is to be committed of a partition, if anything is new.
    fn part(&self, feed: &Feed, snapshot: Snapshot) -> Option<Part> {
        let Snapshot { progress, endings, number } = snapshot;
        let item = checked(&feed.partition, feed.token, progress, feed.inbox.leader_epochs())?;
        let known = self.stand(feed.token).is_some_and(|stand| stand.is(&item.handed));
        let endings: Vec<_> = endings.into_iter().map(|ending| (ending.offset, ending.records)).collect();
        (!known || !endings.is_empty()).then_some(Part { item, number, endings })
    }

    /// Learns what became of the transaction that is under way.
    fn hear_end<'a>(&mut self, cuts: &mut Cuts, feeds: impl Iterator<Item = &'a Feed>) {
        let Step::Sending(sending) = &cuts.step else { return };
        let Some(end) = cuts.cutter.ended() else { return };
        cuts.meters.seconds.record(sending.begun.elapsed().as_secs_f64());
        let Step::Sending(sending) = std::mem::replace(&mut cuts.step, Step::Resting) else { return };
        match end {
            CutEnd::Committed => self.committed(cuts, feeds, sending),
            CutEnd::Failed(reason) => {
                cuts.meters.count("failed");
                if let [part] = &sending.parts[..]
                    && cuts.suspects.contains(&part.item.token)
                {
                    // It alone is the reason, or there is another one for all: the others have their turn.
                    cuts.closed.wait_on(&part.item.handed.partition, reason.clone(), Instant::now());
                }
                cuts.fail(&sending.parts, reason);
                self.proof_failed = true;
            }
            CutEnd::InDoubt(reason) => {
                cuts.meters.count("in-doubt");
                let owned: BTreeSet<Token> = feeds.map(|feed| feed.token).collect();
                for part in sending.parts.iter().filter(|part| owned.contains(&part.item.token)) {
                    let reason = format!("whether a transaction was committed is not known: {reason}");
                    cuts.set_back.insert(part.item.handed.partition.clone(), reason);
                }
                cuts.fail(&sending.parts, reason);
                self.proof_failed = true;
            }
            CutEnd::Refused(refused) => {
                cuts.meters.count("refused");
                let owned = feeds.map(|feed| feed.token).collect();
                refuse(cuts, &sending, &refused, &owned, Instant::now());
                self.proof_failed = true;
            }
        }
    }

    fn committed<'a>(&mut self, cuts: &mut Cuts, feeds: impl Iterator<Item = &'a Feed>, sending: Sending) {
        cuts.meters.count("committed");
        if cuts.trouble.take().is_some() {
            tracing::info!(group = self.group, "cuts are committed again");
        }
        cuts.failures = 0;
        cuts.grow(sending.bytes);
        let mut numbers = BTreeMap::new();
        for Part { item: Item { token, handed }, number, endings } in sending.parts {
            let records: usize = endings.iter().map(|(_, records)| records.len()).sum();
            cuts.meters.records.increment(records as u64);
            let topics = endings.iter().flat_map(|(_, records)| records.iter()).map(|one| one.topic.as_str());
            cuts.closed.took(topics);
            cuts.closed.end_wait(&handed.partition);
            if let Some(refused) = cuts.refused.get_mut(&handed.partition) {
                refused.retain(|offset, _| {
                    *offset >= handed.offset && !endings.iter().any(|(ended, _)| ended == offset)
                });
            }
            cuts.suspects.remove(&token);
            numbers.insert(token, number);
            // One that was forgotten meanwhile is not brought back.
            if let Some(stand) = self.stands.get_mut(&token) {
                *stand = handed.into();
            }
        }
        for feed in feeds {
            if let Some(number) = numbers.get(&feed.token) {
                feed.inbox.cut_committed(*number);
            }
        }
        self.proof_failed = false;
        self.lease.renew(sending.at);
        cuts.rest(sending.begun);
    }

    /// Cuts what partitions that are about to be given up have ended, those that are `kept` along with them.
    /// Waits for the transaction that is under way in any case: nobody knows better than its end.
    pub(in crate::intake) fn cut_last(&mut self, gone: &[Feed], kept: &[Feed], limit: Duration) {
        let until = Instant::now() + limit;
        // Where cuts have to be small, the others would take up the time.
        let is_small = self.cuts.as_ref().is_some_and(|cuts| cuts.halved > 0);
        let along = if is_small { &[] } else { kept };
        self.make_up_for_astray(gone.iter().chain(kept), until);
        while !self.is_lost() {
            let Some(cuts) = &mut self.cuts else { return };
            let now = Instant::now();
            let may_cut = !self.astray && gone.iter().any(|feed| cuts.wants(feed, now));
            let is_over = cuts.is_resting() && !may_cut;
            if is_over || gone.is_empty() || now >= until {
                return;
            }
            cuts.held_off = false;
            if cuts.failures == 0 {
                cuts.next_at = now;
            }
            self.take_answers(Duration::ZERO);
            self.turn_cuts_of(gone.iter().chain(kept), gone.iter().chain(along), false, now);
            std::thread::sleep(LAST_LOOK);
        }
    }

    /// Where the last plain commit failed on its way, another one comes before the last cut.
    fn make_up_for_astray<'a>(&mut self, feeds: impl Iterator<Item = &'a Feed>, until: Instant) {
        let rests = self.cuts.as_ref().is_some_and(Cuts::is_resting);
        if !rests || !self.astray || self.is_lost() {
            return;
        }
        let wanted = feeds.filter(|feed| !feed.inbox.ownership().is_lost());
        let items = wanted.filter_map(|feed| self.unchanged(feed)).collect();
        match self.hand_over(items) {
            Ok(()) => drop(self.await_answers(until)),
            Err(reason) => tracing::warn!(group = self.group, reason, "the commit was not taken"),
        }
    }

    /// Whether a cut is under way. What partitions start with is not asked for meanwhile: what is read then may
    /// be what the cut is about to change.
    pub(in crate::intake) fn is_cutting(&self) -> bool {
        self.cuts.as_ref().is_some_and(|cuts| !cuts.is_resting())
    }

    /// Why nothing is ever cut any more, if a transaction hangs in the client library, which bounds most of its calls
    /// and not all. Its thread cannot be ended; what it has begun, the brokers end, and they refuse it later.
    pub(in crate::intake) fn hanging_cut(&self) -> Option<String> {
        let cuts = self.cuts.as_ref()?;
        let Step::Sending(Sending { begun, .. }) = &cuts.step else { return None };
        let took = begun.elapsed();
        (took > cuts.hangs_after).then(|| {
            cuts.meters.count("hangs");
            format!(
                "a transaction hangs in the Kafka client for {} s; a new process ends that",
                took.as_secs()
            )
        })
    }

    /// Whether partitions wait until it may be asked where they start: then no further cut begins before.
    pub(in crate::intake) fn hold_cuts_off(&mut self, waits: bool) {
        if let Some(cuts) = &mut self.cuts {
            cuts.held_off = waits;
        }
    }

    /// When the next cut may begin.
    pub(in crate::intake) fn next_cut_in(&self, now: Instant) -> Option<Duration> {
        let cuts = self.cuts.as_ref().filter(|cuts| cuts.is_resting())?;
        Some(cuts.next_at.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Why cuts are not committed, if they are not.
    pub(in crate::intake) fn cut_trouble(&self) -> Option<String> {
        let cuts = self.cuts.as_ref()?;
        let trouble = cuts.trouble.clone().filter(|_| cuts.failures >= FAILURES_ORDINARY);
        trouble.or_else(|| cuts.closed.trouble()).or_else(|| cuts.cutter.trouble())
    }

    /// Partitions that are to be dropped and taken anew, with the reason. Until [`Self::is_dropped`] nothing of
    /// them is cut.
    pub(in crate::intake) fn set_back(&self) -> BTreeMap<TopicPartition, String> {
        self.cuts.as_ref().map(|cuts| cuts.set_back.clone()).unwrap_or_default()
    }

    /// Nothing is left of what was known of this partition.
    pub(in crate::intake) fn is_dropped(&mut self, partition: &TopicPartition) {
        if let Some(cuts) = &mut self.cuts {
            cuts.set_back.remove(partition);
        }
    }

    /// For a handler in cuts: what was refused of this partition, which is taken under this id.
    pub(in crate::intake) fn refused(
        &mut self,
        partition: &TopicPartition,
        topic_id: TopicId,
    ) -> Option<BTreeMap<i64, String>> {
        Some(self.cuts.as_mut()?.refused_under(partition, topic_id))
    }

    /// The partition is another host's from now on.
    pub(in crate::intake) fn forget_refused(&mut self, partition: &TopicPartition) {
        if let Some(cuts) = &mut self.cuts {
            cuts.forget(partition);
        }
    }
}

#[cfg(test)]
mod tests;
