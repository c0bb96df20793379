//! The last cut of partitions that are about to be given up, as in `host/kafka`.

use std::time::Duration;

use tokio::time::Instant;

use super::Poller;
use super::feed::Feed;
use crate::mutation::Mutation;

/// Time between two looks whether it has ended.
const LAST_LOOK: Duration = Duration::from_millis(2);

impl Poller {
    /// Cuts what partitions that are about to be given up have ended, up to a limit. Where cuts have to be small,
    /// those that are kept are not asked: they would take up the time.
    pub(super) async fn cut_last(&mut self, gone: &[Feed]) {
        let last_ms = self.cut_plan().map_or(0, |plan| plan.last_ms);
        let until = Instant::now() + Duration::from_millis(last_ms);
        let forgets = self.process.mutated(Mutation::ForgetsTheDoubt);
        let is_small = self.cuts.as_ref().is_some_and(|cuts| cuts.halved > 0);
        self.make_up_for_astray(gone, until).await;
        while self.membership.identity().is_some() {
            let Some(cuts) = &mut self.cuts else { return };
            if forgets {
                cuts.set_back.clear();
            }
            let may_cut = !self.commits.is_astray() && gone.iter().any(|feed| cuts.wants(feed));
            let is_over = cuts.is_resting() && !may_cut;
            let now = Instant::now();
            if !is_over && now >= until {
                self.process.saw("cut: the last one is late");
            }
            if is_over || now >= until {
                return;
            }
            cuts.held_off = false;
            if cuts.failures == 0 {
                cuts.next = now;
            }
            self.take_answer();
            self.turn_last(gone, is_small);
            tokio::time::sleep(LAST_LOOK).await;
        }
    }

    /// Of what is under way the kept hear all the same, or they would give out once more what is committed.
    fn turn_last(&mut self, gone: &[Feed], is_small: bool) {
        if !is_small {
            self.turn_cuts(gone, false);
            return;
        }
        self.process.saw("cut: a small last one");
        let kept = std::mem::take(&mut self.feeds);
        let asked: Vec<&Feed> = gone.iter().collect();
        if self.process.mutated(Mutation::DeafensTheKept) {
            self.turn_cuts_of(&asked, &asked, false);
        } else {
            let all: Vec<&Feed> = gone.iter().chain(&kept).collect();
            self.turn_cuts_of(&all, &asked, false);
        }
        self.feeds = kept;
    }
}
