//! What is on its way back: hosts that end, a broker, the database, and the offsets that are deleted at last.

use anyhow::{Result, anyhow};

use super::{Act, Broker, Player};
use crate::faults::Deed;
use crate::given_up;
use crate::plan::{GUEST_SLOT, HOSTS};
use crate::report::say;

impl Player<'_> {
    pub(super) fn look_at_the_leaving(&mut self) -> Result<()> {
        for leaving in std::mem::take(&mut self.leaving) {
            let Some(status) = self.stage.fleet.ended(leaving.slot)? else {
                self.leaving.push(leaving);
                continue;
            };
            let (number, deed) = (leaving.number, Deed::EndedHost(leaving.number));
            self.stage.log.ends(deed);
            if leaving.slot == GUEST_SLOT {
                self.down.remove(&leaving.slot);
            }
            // It says so itself when work is left, or its last progress is not committed.
            if status.code() == Some(1) && self.may_leave_work(number)? {
                say(&format!("    host {number} was held up while it left, and says that work is left"));
            } else if !status.success() {
                self.findings.push(format!("host {number} ended with {status} after SIGTERM"));
            }
            if let Some(away_ms) = leaving.away_ms {
                self.later(away_ms, Act::StartHost(leaving.slot));
            }
        }
        Ok(())
    }

    /// Whether a fault explains that work is left, by what the hosts' logs say.
    fn may_leave_work(&self, number: u32) -> Result<bool> {
        let fleet = &self.stage.fleet;
        Ok(self.stage.log.may_leave_work(number, &fleet.losses()?, &given_up::of_logs(fleet.logs())?))
    }

    pub(super) fn look_at_the_broker(&mut self) -> Result<()> {
        match self.broker.take() {
            Some(Broker::Starting(broker, thread)) if thread.is_finished() => {
                thread.join().map_err(|_| anyhow!("the broker's start panicked"))??;
                self.broker = Some(Broker::CatchingUp(broker));
            }
            // Brokers that are just elected do not answer: the next look counts.
            Some(Broker::CatchingUp(broker)) => match self.stage.onlooker.is_in_sync() {
                Ok(true) => self.stage.log.ends(Deed::KilledBroker(broker)),
                _ => self.broker = Some(Broker::CatchingUp(broker)),
            },
            other => self.broker = other,
        }
        Ok(())
    }

    pub(super) fn look_at_the_database(&mut self) -> Result<()> {
        if let Some(thread) = self.database.take_if(|thread| thread.is_finished()) {
            thread.join().map_err(|_| anyhow!("the database's start panicked"))??;
            self.stage.log.ends(Deed::KilledDatabase);
        }
        Ok(())
    }

    /// When all hosts have ended and the coordinator has forgotten their memberships, what they committed is
    /// deleted.
    pub(super) fn look_at_the_deletion(&mut self) -> Result<()> {
        if self.deletes.is_none() || !self.leaving.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.stage.onlooker.delete_group() {
            self.deletes = Some(format!("{error:#}"));
            return Ok(());
        }
        self.stage.log.happens(Deed::DeletedOffsets);
        self.deletes = None;
        (0..HOSTS).try_for_each(|slot| self.act(Act::StartHost(slot)))
    }
}
