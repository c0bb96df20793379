//! Who waits for whom in the model of a database.
//!
//! A run shares its partition's fence with other runs and holds it to its end; a take wants it alone, and
//! those that come after a waiting take wait behind it. A take that has waited for long ends the sessions
//! in its way. Where there is one writer, everybody wants that alone, and nobody can end another's session.

use super::request::{Answer, Request};
use super::server::{Reply, Server, Waiting};

impl Server {
    /// Whoever may go on by now does. Answers who is to hear what.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Reply> {
        self.end_the_idle(now_ms);
        let mut answers = Vec::new();
        let mut at = 0;
        while at < self.waiting.len() {
            let late = now_ms >= self.waiting[at].until_ms;
            let blocked = self.is_blocked(at);
            let is_take = matches!(self.waiting[at].call.request, Request::Take { .. });
            if blocked && !late {
                self.waiting[at].waited = true;
                at += 1;
                continue;
            }
            let Waiting { call, seen, waited, .. } = self.waiting.remove(at);
            if blocked && (self.plan.single_writer || !is_take) {
                self.trace.saw("database: waited too long");
                answers.push((call.host, call.reply, Answer::Unavailable, self.boot));
                continue;
            }
            if blocked {
                self.end_blockers(&call.request);
            } else if waited && is_take {
                self.trace.saw("database: take waits for a run");
            }
            let answer = self.granted(now_ms, &call, seen);
            answers.push((call.host, call.reply, answer, self.boot));
            // What it did may have freed others.
            at = 0;
        }
        answers
    }

    fn end_the_idle(&mut self, now_ms: u64) {
        if self.plan.single_writer {
            return;
        }
        let (before, idle_ms) = (self.open.len(), self.plan.idle_ms);
        self.open.retain(|_, one| now_ms < one.idle_since_ms + idle_ms);
        if self.open.len() < before {
            self.trace.saw("database: idle transaction ended");
        }
    }

    fn end_blockers(&mut self, request: &Request) {
        self.trace.saw("database: taker ends a transaction");
        let stream = request.stream();
        self.open.retain(|_, one| Some(one.fence.stream) != stream);
    }

    fn is_blocked(&self, at: usize) -> bool {
        let stream = self.waiting[at].call.request.stream();
        let single = self.plan.single_writer;
        let earlier = self.waiting[..at].iter().any(|one| single || one.call.request.stream() == stream);
        let alone = single || matches!(self.waiting[at].call.request, Request::Take { .. });
        let held = self.open.values().any(|one| single || Some(one.fence.stream) == stream);
        earlier || (alone && held)
    }
}
