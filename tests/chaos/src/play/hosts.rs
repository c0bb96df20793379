//! What is done to hosts: killed, stopped, told to go on; and what the log says of that beside.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{Act, Player, RELAY_AGAIN_MS};
use crate::clock::now_ms;
use crate::faults::Deed;
use crate::given_up::Stood;
use crate::plan::HOSTS;
use crate::report::say;

/// How much later a host's own fault comes after it is back from one of the relay.
const APART_MS: u64 = 3_000;

impl Player<'_> {
    pub(super) fn kill_host(&mut self, slot: usize) -> Result<()> {
        self.down.insert(slot);
        // Asked while it still answers.
        let relays = self.stage.may_relay(slot);
        let number = self.stage.fleet.kill(slot)?;
        self.stage.log.happens(Deed::KilledHost(number));
        if relays {
            self.stage.log.happens(Deed::Relayed(number));
        }
        Ok(())
    }

    pub(super) fn stop_host(&mut self, slot: usize) -> Result<()> {
        self.down.insert(slot);
        let number = self.number(slot)?;
        let relays = self.stage.may_relay(slot);
        // It begins in the log before it does in truth, and ends after.
        self.stage.log.begins(Deed::StoppedHost(number));
        if relays {
            self.stage.log.begins(Deed::Relayed(number));
        }
        self.stage.fleet.signal(slot, "STOP")?;
        self.floors.insert(slot, self.stage.floors());
        if self.stage.stands_inside(slot) {
            say("           it stands in the middle of a transaction");
            self.stage.log.begins(Deed::StoodInside(number));
            if self.stage.ledger()?.has_one_writer() {
                self.stage.log.begins(Deed::HeldTheWriter(number));
            }
        }
        Ok(())
    }

    pub(super) fn continue_host(&mut self, slot: usize) -> Result<()> {
        let pruned = self.pruned_meanwhile(slot);
        let number = self.number(slot)?;
        self.stood.push(Stood { host: number, until_ms: now_ms(), pruned });
        self.stage.fleet.signal(slot, "CONT")?;
        for deed in [Deed::StoppedHost, Deed::Relayed, Deed::StoodInside, Deed::HeldTheWriter] {
            self.stage.log.ends(deed(number));
        }
        self.down.remove(&slot);
        Ok(())
    }

    /// Partitions whose floor rose while the host of a slot stood still: it was others that pruned them.
    fn pruned_meanwhile(&mut self, slot: usize) -> BTreeSet<i32> {
        let (before, now) = (self.floors.remove(&slot).unwrap_or_default(), self.stage.floors());
        let rose =
            |(partition, floor): &(i32, i64)| before.get(partition).is_some_and(|before| before < floor);
        now.into_iter().filter(rose).map(|(partition, _)| partition).collect()
    }

    /// The slot of the host that relays, if nothing is wrong with it. One that does not answer does not.
    fn relaying(&self) -> Option<usize> {
        let relays = |slot: &usize| self.stage.fleet.relays(*slot) == Some(true);
        (0..HOSTS).find(|slot| !self.down.contains(slot) && relays(slot))
    }

    /// Kills or stops the host that relays. What else was to happen to it happens later.
    pub(super) fn harm_the_relay(&mut self, act: Act, ms: u64) -> Result<()> {
        let Some(slot) = self.relaying() else {
            self.later(RELAY_AGAIN_MS, act);
            return Ok(());
        };
        say(&format!("           the host of slot {slot} relays"));
        let now_ms = self.now_ms();
        put_off(&mut self.due, slot, now_ms, ms + APART_MS);
        let (first, then) = match act {
            Act::KillRelay(_) => (Act::KillHost(slot), Act::StartHost(slot)),
            _ => (Act::StopHost(slot), Act::ContinueHost(slot)),
        };
        self.later(ms, then);
        self.act(first)
    }
}

/// What was to happen to the host of a slot begins so much later: also where it is late already, since a step before
/// took long.
fn put_off(due: &mut [(u64, Act)], slot: usize, now_ms: u64, by_ms: u64) {
    let of_slot = |(_, act): &&(u64, Act)| act.slot() == Some(slot);
    let first_ms = due.iter().filter(of_slot).map(|(at, _)| *at).min().unwrap_or(now_ms);
    for (at, act) in due {
        if act.slot() == Some(slot) {
            *at += now_ms.saturating_sub(first_ms) + by_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_is_put_off_from_now_on() {
        let of_another = (12, Act::StopHost(1));
        let mut due = [(40, Act::ContinueHost(0)), (15, Act::StopHost(0)), of_another];
        put_off(&mut due, 0, 20, 10);
        assert_eq!(due, [(55, Act::ContinueHost(0)), (30, Act::StopHost(0)), of_another]);
        put_off(&mut due, 0, 25, 10);
        assert_eq!(due, [(65, Act::ContinueHost(0)), (40, Act::StopHost(0)), of_another]);
    }
}
