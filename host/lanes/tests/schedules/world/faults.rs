//! What comes in between: operators, commits, and crashes.

use keylane_lanes::{Input, Partition};

use super::World;
use crate::look;
use crate::model::{Model, State};

impl World {
    /// An operator asks for something, more often than not for something that waits.
    pub(super) fn operate(&mut self) {
        if self.draw.one_in(6) {
            self.meet("resume all");
            return self.resume_all();
        }
        let waiting: Vec<i64> =
            self.model.events.keys().copied().filter(|offset| self.model.waits(*offset)).collect();
        let any = self.draw.below(self.model.next as u64 + 2) as i64;
        let one_waiting = self.draw.pick(waiting).filter(|_| !self.draw.one_in(3));
        let of_the_rest = self.draw.pick(self.model.events.keys().copied()).unwrap_or(any);
        let offset = one_waiting.unwrap_or(if self.draw.one_in(3) { any } else { of_the_rest });
        let resumes = self.draw.one_in(2);
        let does = if resumes { "resume" } else { "skip" };
        let ready = self.model.ready().contains(&offset);
        self.met.insert(match self.model.events.get(&offset).map(|event| event.state) {
            Some(State::Parked { .. }) => format!("{does} parked"),
            Some(State::Paused) => format!("{does} paused"),
            Some(State::Burying) => "refused burying".to_owned(),
            Some(State::Skipping) => "refused skipping".to_owned(),
            Some(State::Running) => "refused running".to_owned(),
            Some(State::Queued) if ready => "refused ready".to_owned(),
            Some(State::Queued) | None => "refused nobody".to_owned(),
        });
        if resumes {
            let expected = self.model.resume(self.now_ms, offset);
            self.feed(Input::Resume { offset: Some(offset) }, &expected);
        } else {
            let expected = self.model.skip(offset);
            self.feed(Input::SkipHead { offset }, &expected);
        }
    }

    pub(super) fn resume_all(&mut self) {
        let expected = self.model.resume_all(self.now_ms);
        self.feed(Input::Resume { offset: None }, &expected);
    }

    /// Progress is written down, at times no more than a prefix of it.
    pub(super) fn commit(&mut self) {
        look::check_gap_set(&self.model, &self.partition);
        self.committed = self.partition.gap_set();
        self.history.check(&self.committed);
        let ranges = self.committed.ended.len();
        if ranges > 0 && self.draw.one_in(3) {
            self.committed.ended.truncate(self.draw.below(ranges as u64) as usize);
            self.meet("truncated");
        }
    }

    /// The host dies; another one begins with what was committed last, and the log may have been
    /// compacted meanwhile.
    pub(super) fn crash(&mut self) {
        self.meet(if self.model.halted.is_some() { "crash while halted" } else { "crash" });
        if self.draw.one_in(2) {
            self.commit();
        }
        if self.draw.one_in(3) {
            self.meet("compacted");
            let draw = &mut self.draw;
            self.history.log.retain(|_, _| !draw.one_in(8));
        }
        let policy = self.model.policy;
        self.history.restart(&self.committed);
        self.partition = Partition::new(policy, self.committed.clone());
        self.model = Model::new(policy, self.committed.clone());
        self.trace.push(format!("crash {:?}", self.committed));
        self.look();
    }
}
