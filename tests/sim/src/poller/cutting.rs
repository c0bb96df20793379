//! Cuts, as the committer of `host/kafka` makes them: the metadata first, then the owners' snapshots, then a
//! look whether each is still owned, and one transaction as the member that it was begun by. A cut and a plain
//! commit never overlap; behind one that failed on its way another is acknowledged first.

use std::collections::BTreeSet;
use std::time::Duration;

use keylane_engine::{CutAnswer, Snapshot};
use tokio::time::Instant;

use super::Poller;
use super::commits::Item;
use super::cuts::{ANSWER_LIMIT, Asking, Cuts, Part, Sending, Step};
use super::cutter::{Cut, CutEnd};
use super::feed::Feed;
use crate::coordinator::Position;
use crate::cuts::row_of;
use crate::database::{Row, What};
use crate::draw::Draw;
use crate::mutation::Mutation;
use crate::trace::{Note, Place};

impl Poller {
    /// Goes on with cuts. Answers whether none is under way, so that a plain commit may be made.
    pub(super) fn turn_cuts(&mut self, gone: &[Feed], due: bool) -> bool {
        let feeds = std::mem::take(&mut self.feeds);
        let all: Vec<&Feed> = gone.iter().chain(&feeds).collect();
        let may_commit = self.turn_cuts_of(&all, &all, due);
        self.feeds = feeds;
        may_commit
    }

    /// The same, where only some of the owners are `asked` for more. Of what is under way all hear.
    pub(super) fn turn_cuts_of(&mut self, feeds: &[&Feed], asked: &[&Feed], due: bool) -> bool {
        let Some(mut cuts) = self.cuts.take() else { return true };
        self.hear_end(&mut cuts, feeds);
        let now = Instant::now();
        let overlaps = self.process.mutated(Mutation::CutsAmidCommits);
        let waits = self.commits.is_astray() && !self.process.mutated(Mutation::CutsBehindAStray);
        let proves_first = (due && cuts.proof_failed) || waits;
        let may_begin = cuts.is_resting() && cuts.cutter.is_open() && now >= cuts.next && !cuts.held_off;
        if may_begin && !proves_first && (self.commits.is_answered() || overlaps) {
            self.ask(&mut cuts, feeds, asked, now);
        }
        self.gather(&mut cuts, feeds, now);
        let may_commit = (cuts.is_resting() || overlaps) && due;
        self.cuts = Some(cuts);
        may_commit
    }

    fn ask(&self, cuts: &mut Cuts, feeds: &[&Feed], asked: &[&Feed], now: Instant) {
        cuts.forget_all_but(&feeds.iter().map(|feed| feed.number).collect());
        let wanted: Vec<&Feed> = asked.iter().copied().filter(|feed| cuts.wants(feed)).collect();
        if wanted.is_empty() || !self.lease.holds() {
            return;
        }
        let sent = self.lease.now();
        let Some(who) = self.membership.identity() else { return };
        let ask = |feed: &Feed| Some((feed.place, feed.number, feed.inbox.ask_cut()?));
        let asked = wanted.into_iter().filter_map(ask).collect();
        let look_ms = self.cut_plan().map_or(0, |plan| plan.look_ms);
        let look_ms = Draw::of(&[self.process.plan.seed, 17, self.process.next_number()]).below(look_ms + 1);
        let look = now + Duration::from_millis(look_ms);
        cuts.step = Step::Asking(Asking { who, begun: now, look, sent, asked, made: Vec::new() });
    }

    /// Takes the owners' answers, and sends when all are there, or late.
    fn gather(&mut self, cuts: &mut Cuts, feeds: &[&Feed], now: Instant) {
        let Step::Asking(asking) = &mut cuts.step else { return };
        if now < asking.look {
            return;
        }
        let made = &mut asking.made;
        asking.asked.retain_mut(|(place, number, question)| match question.answer() {
            CutAnswer::Pending => true,
            CutAnswer::Gone => false,
            CutAnswer::Made(snapshot) => {
                made.push((*place, *number, *snapshot));
                false
            }
        });
        if !asking.asked.is_empty() && now < asking.begun + ANSWER_LIMIT {
            return;
        }
        let Step::Asking(asking) = std::mem::replace(&mut cuts.step, Step::Resting) else { return };
        cuts.owed.extend(asking.asked.iter().map(|(_, number, _)| *number));
        self.send(cuts, feeds, asking);
    }

    fn send(&mut self, cuts: &mut Cuts, feeds: &[&Feed], asking: Asking) {
        let Asking { who: (member, epoch), begun, sent, mut made, .. } = asking;
        made.sort_by_key(|(_, number, _)| cuts.turn_of(*number));
        let owned = feeds.iter().filter(|feed| !feed.inbox.ownership().is_lost());
        let owned: BTreeSet<u64> = owned.map(|feed| feed.number).collect();
        let records_max = cuts.records_max(self.cut_records_max());
        let (mut parts, mut records) = (Vec::new(), 0);
        for (place, number, snapshot) in made {
            if !owned.contains(&number) {
                self.process.saw("cut: given up meanwhile");
                if !self.process.mutated(Mutation::CutWithoutToken) {
                    continue;
                }
            }
            if records >= records_max {
                self.process.saw("cut: left for the next");
                cuts.owed.insert(number);
                continue;
            }
            cuts.owed.remove(&number);
            let Some(part) = self.part(place, number, snapshot) else { continue };
            if cuts.closed.turns_away(place.partition, &part.rows) {
                self.process.saw("cut: kept from a topic");
                cuts.owed.insert(number);
                continue;
            }
            records += part.rows.len();
            parts.push(part);
        }
        if self.membership.identity().is_none() {
            return cuts.fail(&parts);
        }
        if parts.is_empty() {
            cuts.next = begun + self.cut_every();
            return;
        }
        let rows = self.rows_of(cuts, &parts);
        let positions = parts.iter().map(|part| self.position(&part.item)).collect();
        cuts.cutter.hand_over(Cut { member, epoch, positions, rows });
        self.commits.note_sent(sent);
        cuts.take_turn(parts.iter().map(|part| part.item.number));
        cuts.step = Step::Sending(Sending { begun, sent, parts });
    }

    /// What is to be committed of a partition, if anything is new.
    fn part(&self, place: Place, number: u64, snapshot: Snapshot) -> Option<Part> {
        let Snapshot { progress, endings, number: snapshot } = snapshot;
        let item = Item::new(place, number, &progress);
        let rows: Vec<Row> = endings.iter().flat_map(|one| one.records.iter().map(row_of)).collect();
        let endings: Vec<i64> = endings.iter().map(|ending| ending.offset).collect();
        let part = Part { snapshot, endings, rows, item };
        (!self.commits.has(&part.item) || !part.endings.is_empty()).then_some(part)
    }

    /// The records in the order in which they are sent.
    fn rows_of(&self, cuts: &mut Cuts, parts: &[Part]) -> Vec<Row> {
        if !self.process.mutated(Mutation::CutsNoPrefix) {
            return parts.iter().flat_map(|part| part.rows.iter().copied()).collect();
        }
        let mut late = std::mem::take(&mut cuts.left_out);
        let mut rows = Vec::new();
        for part in parts {
            let first = part.endings.first().filter(|_| part.endings.len() > 1);
            for row in &part.rows {
                let list = if first == Some(&row.offset) { &mut cuts.left_out } else { &mut rows };
                list.push(*row);
            }
        }
        rows.append(&mut late);
        rows
    }

    fn position(&self, item: &Item) -> Position {
        let Item { place, number, offset, payload, truncated } = item.clone();
        if truncated {
            self.process.saw("cut: payload cut");
        }
        let (metadata, sequence) = (payload.as_bytes().to_vec(), self.process.next_number());
        self.process.note(Note::Submitted { place, number, offset, payload, truncated });
        Position { partition: place.partition, offset, metadata, number, sequence }
    }

    fn cut_records_max(&self) -> usize {
        self.cut_plan().map_or(0, |plan| plan.records_max)
    }

    pub(super) fn cut_every(&self) -> Duration {
        Duration::from_millis(self.cut_plan().map_or(0, |plan| plan.every_ms))
    }

    /// Learns what became of the transaction that is under way.
    fn hear_end(&mut self, cuts: &mut Cuts, feeds: &[&Feed]) {
        if !matches!(cuts.step, Step::Sending(_)) {
            return;
        }
        let Some(end) = cuts.cutter.ended() else { return };
        let Step::Sending(sending) = std::mem::replace(&mut cuts.step, Step::Resting) else { return };
        cuts.proof_failed = !matches!(end, CutEnd::Committed);
        match end {
            CutEnd::Committed => self.committed(cuts, feeds, sending),
            CutEnd::Failed => {
                self.process.saw("cut: failed");
                cuts.fail(&sending.parts);
            }
            CutEnd::InDoubt => {
                self.process.saw("cut: in doubt");
                if !self.process.mutated(Mutation::DoubtIsFailure) {
                    cuts.set_back.extend(sending.parts.iter().map(|part| part.item.place.partition));
                }
                cuts.fail(&sending.parts);
            }
            CutEnd::Refused(refused) => self.refuse(cuts, &sending, &refused),
        }
    }

    fn committed(&mut self, cuts: &mut Cuts, feeds: &[&Feed], sending: Sending) {
        self.process.saw(if sending.parts.len() > 1 { "cut: several partitions" } else { "cut: committed" });
        cuts.failures = 0;
        cuts.grow(sending.parts.iter().map(|part| part.rows.len()).sum(), self.cut_records_max());
        for Part { item, snapshot, endings, rows } in sending.parts {
            if rows.iter().any(|row| row.what == What::Letter) {
                self.process.saw("cut: dead letter");
            }
            cuts.closed.took(&rows);
            cuts.closed.end_wait(item.place.partition);
            if let Some(refused) = cuts.refused.get_mut(&item.place.partition) {
                refused.retain(|offset, _| *offset >= item.offset && !endings.contains(offset));
            }
            if let Some(feed) = feeds.iter().find(|feed| feed.number == item.number) {
                feed.inbox.cut_committed(snapshot);
            }
            self.commits.learn(item);
        }
        self.lease.renew(sending.sent);
        let (handler, sent_ms) = (self.handler, sending.sent.as_millis() as u64);
        self.process.note(Note::Acknowledged { handler, sent_ms });
        cuts.next = sending.begun + self.cut_every();
    }

    /// Whether the last proof of the membership failed.
    pub(super) fn proof_failed(&self) -> bool {
        self.cuts.as_ref().is_some_and(|cuts| cuts.proof_failed)
    }

    /// A plain commit was answered.
    pub(super) fn note_proof(&mut self, is_acknowledged: bool) {
        if let Some(cuts) = &mut self.cuts {
            cuts.proof_failed = !is_acknowledged;
        }
    }

    /// Whether a cut is under way: what is read of the group's offsets then may be what it is about to change.
    pub(super) fn is_cutting(&self) -> bool {
        self.cuts.as_ref().is_some_and(|cuts| !cuts.is_resting())
    }

    /// Whether partitions wait until it may be asked where they start: then no further cut begins before.
    pub(super) fn hold_cuts_off(&mut self, waits: bool) {
        if let Some(cuts) = &mut self.cuts {
            cuts.held_off = waits;
        }
    }
}
