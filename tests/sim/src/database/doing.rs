//! What a request does in the model of a database, when it is its turn.

use keylane_engine::{Epoch, Fence, GapSet, Hold};

use super::request::{Answer, Call, Request};
use super::server::{Open, Server};
use super::state::{EndedAs, Row, What};
use crate::mutation::Mutation;
use crate::trace::Note;

/// The most claims that one batch of pruning deletes: few, so that several are needed.
const PRUNE_MAX: usize = 25;

impl Server {
    pub(super) fn granted(&mut self, now_ms: u64, call: &Call, seen: Option<GapSet>) -> Answer {
        let fence = match &call.request {
            Request::Take { partition } => return self.take(now_ms, call.host, *partition, seen),
            Request::Begin { fence, .. }
            | Request::Bury { fence, .. }
            | Request::Skip { fence, .. }
            | Request::Raise { fence, .. } => *fence,
            _ => return self.perform(now_ms, call.host, call.request.clone()).unwrap_or(Answer::Done),
        };
        let trusts = [Mutation::TrustsReconnection, Mutation::CountWithoutNonce, Mutation::NoEpochCheck];
        let same_life = call.boot == Some(self.boot) || trusts.into_iter().any(|one| self.mutated(one));
        if !same_life {
            self.trace.saw("database: taken in another life of the server");
            return Answer::Gone;
        }
        if !self.owns(fence) {
            self.tell_of_zombie(&call.request, fence);
            return Answer::NotOwner;
        }
        self.fenced(now_ms, call, fence)
    }

    /// What was refused, for those who ask what the seeds reach.
    fn tell_of_zombie(&mut self, request: &Request, fence: Fence) {
        let Request::Begin { .. } = request else {
            return self.trace.saw("database: passed epoch refused");
        };
        let floor = self.state.stream(fence.stream as i32).floor;
        let since = self.floors.get(&(fence.stream, fence.epoch.nonce)).copied();
        let pruned = since.is_some_and(|since| floor > Some(since));
        self.trace.saw(if pruned {
            "database: zombie begins after pruning"
        } else {
            "database: zombie begins"
        });
    }

    fn owns(&mut self, fence: Fence) -> bool {
        let Some(Epoch { count, nonce }) = self.state.stream(fence.stream as i32).epoch else { return false };
        let same_count = count == fence.epoch.count || self.mutated(Mutation::NoEpochCheck);
        let drops_nonce = [Mutation::NoEpochCheck, Mutation::CountWithoutNonce];
        let same_nonce = nonce == fence.epoch.nonce || drops_nonce.into_iter().any(|one| self.mutated(one));
        same_count && same_nonce
    }

    fn take(&mut self, now_ms: u64, host: u8, partition: i32, seen: Option<GapSet>) -> Answer {
        let place = self.place(i64::from(partition));
        let nonce = self.draw.next() as i64;
        let first = self.mutated(Mutation::ReadsClaimsFirst);
        let stream = self.state.stream(partition);
        let count = stream.epoch.map_or(0, |epoch| epoch.count) + 1;
        let epoch = Epoch { count, nonce };
        stream.epoch = Some(epoch);
        let stream_floor = stream.floor.unwrap_or(0);
        let restored = if first { seen } else { stream.restored() };
        self.trace.note(now_ms, host, Note::Granted { place, epoch, restored: restored.clone() });
        let fence = Fence { stream: i64::from(partition), replay: 0, epoch };
        self.floors.insert((fence.stream, nonce), stream_floor);
        Answer::Taken(restored.map(|restored| Hold { fence, restored, floor: stream_floor, position: None }))
    }

    /// What a request does that holds its fence.
    fn fenced(&mut self, now_ms: u64, call: &Call, fence: Fence) -> Answer {
        let (partition, place) = (fence.stream as i32, self.place(fence.stream));
        match call.request {
            Request::Begin { transaction, .. } => {
                if self.chance(self.plan.connection_lost) {
                    return Answer::Gone;
                }
                let open = Open {
                    life: call.life,
                    fence,
                    rows: Vec::new(),
                    mark: 0,
                    idle_since_ms: now_ms,
                    void: false,
                };
                self.open.insert(transaction, open);
                Answer::Done
            }
            Request::Bury { offset, .. } => {
                let rows = vec![Row { partition, offset, what: What::Letter }];
                self.end_alone(now_ms, call.host, fence, (offset, EndedAs::DeadLettered), &rows)
            }
            Request::Skip { offset, .. } => {
                self.end_alone(now_ms, call.host, fence, (offset, EndedAs::Skipped), &[])
            }
            Request::Raise { floor, .. } => {
                let raises = !self.mutated(Mutation::PrunesWithoutFloor);
                let stream = self.state.stream(partition);
                let reached = stream.prune(floor, PRUNE_MAX, raises);
                let floor = stream.floor.unwrap_or(floor);
                self.trace.saw(if reached { "database: pruned" } else { "database: pruned in part" });
                self.trace.note(now_ms, call.host, Note::FloorRaised { place, floor });
                if reached { Answer::Done } else { Answer::More }
            }
            _ => Answer::Unavailable,
        }
    }

    /// An ending that is not a run's. One that was claimed before is left as it is.
    fn end_alone(
        &mut self,
        now_ms: u64,
        host: u8,
        fence: Fence,
        ending: (i64, EndedAs),
        rows: &[Row],
    ) -> Answer {
        if self.state.stream(fence.stream as i32).is_claimed(ending.0) {
            self.trace.saw("database: ended before");
            return Answer::Done;
        }
        let (lost, applied) = (self.chance(self.plan.in_doubt), self.draw.permille(500));
        if lost && !applied {
            return Answer::Gone;
        }
        let unclaimed = ending.1 == EndedAs::DeadLettered && self.mutated(Mutation::NoClaimForLetter);
        let endings = if unclaimed { Vec::new() } else { vec![ending] };
        self.commit(now_ms, host, fence, endings, rows);
        if lost { Answer::Gone } else { Answer::Done }
    }

    fn commit(&mut self, now_ms: u64, host: u8, fence: Fence, endings: Vec<(i64, EndedAs)>, rows: &[Row]) {
        let place = self.place(fence.stream);
        let commit = self.state.commit(place.partition, &endings, rows);
        let effects = rows.iter().filter(|row| row.what == What::Effect).map(|row| row.offset).collect();
        let epoch = fence.epoch;
        self.trace.note(now_ms, host, Note::Committed { place, epoch, commit, endings, effects });
    }

    /// What a request does that needs no lock of its own. None: nobody waits for the answer.
    pub(super) fn perform(&mut self, now_ms: u64, host: u8, request: Request) -> Option<Answer> {
        match request {
            Request::Settle { offered } => return Some(Answer::Settled(self.state.settle(&offered))),
            Request::Ended { fence, mut offsets } => {
                let stream = self.state.stream(fence.stream as i32);
                offsets.retain(|offset| stream.is_claimed(*offset));
                return Some(Answer::Ended(offsets));
            }
            Request::Close { transaction } => {
                self.open.remove(&transaction);
                self.waiting.retain(|one| one.call.request.transaction() != Some(transaction));
                return None;
            }
            _ => {}
        }
        let number = request.transaction()?;
        let Some(mut open) = self.open.remove(&number) else { return Some(Answer::Gone) };
        open.idle_since_ms = now_ms;
        let is_last = matches!(request, Request::Finish { .. });
        let answer = match request {
            Request::Write { offset, outputs, .. } => self.write(&mut open, offset, outputs),
            Request::Savepoint { .. } => self.savepoint(&mut open),
            Request::RollbackTo { .. } => self.roll_back_to(&mut open),
            Request::Finish { endings, .. } => self.finish(now_ms, host, &open, endings),
            _ => Answer::Gone,
        };
        if answer == Answer::Done && !is_last {
            self.open.insert(number, open);
        }
        Some(answer)
    }

    /// Another transaction that is open is in the way. The mutations do not hear of it.
    fn meets_another(&mut self, open: &mut Open) -> bool {
        if self.open.is_empty() || !self.chance(self.plan.conflict) {
            return false;
        }
        self.trace.saw("database: conflict");
        let deaf = [Mutation::CommitsAfterError, Mutation::Autocommits];
        if deaf.into_iter().any(|one| self.mutated(one)) {
            open.rows.clear();
            open.void = true;
            return false;
        }
        true
    }

    fn write(&mut self, open: &mut Open, offset: i64, outputs: u32) -> Answer {
        if self.chance(self.plan.connection_lost) {
            return Answer::Gone;
        }
        if self.meets_another(open) {
            return Answer::Conflict;
        }
        let partition = open.fence.stream as i32;
        let row = |what| Row { partition, offset, what };
        let outputs: Vec<Row> = (0..outputs).map(|ordinal| row(What::Output(ordinal))).collect();
        if self.mutated(Mutation::ProducesBeforeCommit) {
            self.state.rows.extend(outputs);
            open.rows.push(row(What::Effect));
        } else if open.void {
            let writes = self.mutated(Mutation::Autocommits);
            self.state.rows.extend(std::iter::once(row(What::Effect)).chain(outputs).filter(|_| writes));
        } else {
            open.rows.push(row(What::Effect));
            open.rows.extend(outputs);
        }
        Answer::Done
    }

    fn savepoint(&mut self, open: &mut Open) -> Answer {
        if self.meets_another(open) {
            return Answer::Conflict;
        }
        open.mark = open.rows.len();
        Answer::Done
    }

    fn roll_back_to(&mut self, open: &mut Open) -> Answer {
        if !self.mutated(Mutation::KeepsTheFailed) {
            open.rows.truncate(open.mark);
        }
        Answer::Done
    }

    /// An answer that is lost says nothing of what was done.
    fn finish(&mut self, now_ms: u64, host: u8, open: &Open, endings: Vec<(i64, EndedAs)>) -> Answer {
        let partition = open.fence.stream as i32;
        let in_doubt = self.chance(self.plan.in_doubt);
        if in_doubt && self.draw.permille(500) {
            self.trace.saw("database: commit in doubt, undone");
            return Answer::Gone;
        }
        if open.void && self.mutated(Mutation::CommitsAfterError) {
            return Answer::Done;
        }
        let stream = self.state.stream(partition);
        if endings.iter().any(|(offset, _)| stream.is_claimed(*offset)) {
            self.trace.saw("database: claim exists");
            return Answer::ClaimExists;
        }
        self.commit(now_ms, host, open.fence, endings, &open.rows);
        if in_doubt {
            self.trace.saw("database: commit in doubt, done");
            return Answer::Gone;
        }
        Answer::Done
    }
}
