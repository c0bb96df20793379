//! The course of the demo: day after day, produce what happens, wait until it is booked, close the day,
//! wait until it is paid. A day is closed only when accounting is through with all of it: then who is paid,
//! and how much, is known beforehand to the unit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use keylane_deployment::Manifest;
use keylane_engine::OutgoingRecord;

use super::checks::Expected;
use super::endings::Endings;
use super::exchange::{Books, DAYS, DAYS_CLOSED, Exchange, Plan, closing_record};
use super::gauges::{Gauges, Stillness, ended};
use super::produce::Producer;

/// How often it is looked whether a wait is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What a course needs to know.
pub(super) struct Course<'a, G> {
    /// What is simulated.
    pub(super) plan: Plan,
    /// What accounting, which pays, reads.
    pub(super) accounting: &'a Manifest,
    /// The running host.
    pub(super) gauges: &'a G,
    /// What is there at the end.
    pub(super) expected: &'a Expected,
    /// The day it is, from 1, for whoever shows it.
    pub(super) day: &'a AtomicUsize,
}

impl<G: Gauges> Course<'_, G> {
    /// Goes through all days, to the end of the last event.
    ///
    /// # Errors
    /// When the broker does not take a record, an outbox cannot be read, or the host stands still before
    /// everything is done.
    pub(super) async fn run(&self, producer: &mut Producer) -> anyhow::Result<()> {
        let mut books = Books::default();
        let mut stream = Exchange::new(self.plan).peekable();
        for (place, day) in DAYS.iter().enumerate() {
            self.day.store(place + 1, Ordering::Relaxed);
            while let Some(happening) = stream.next_if(|happening| happening.day() == day) {
                books.note(&happening);
                producer.send(happening.record()).await?;
            }
            producer.settle().await?;
            if place < DAYS_CLOSED {
                self.booked(&books).await?;
                books.close();
                send(producer, closing_record(day)).await?;
                self.booked(&books).await?;
            }
        }
        self.all_ended().await
    }

    /// Waits until accounting has ended every record that these books know of.
    async fn booked(&self, books: &Books) -> anyhow::Result<()> {
        let wanted = Endings::of(&self.accounting.subscribe, books);
        let mut stillness = Stillness::new(Instant::now());
        loop {
            if self.has_ended(&self.accounting.name, wanted) {
                return Ok(());
            }
            self.go_on(&mut stillness)?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until every handler has ended all that there will be, and all that they made has left.
    async fn all_ended(&self) -> anyhow::Result<()> {
        let mut stillness = Stillness::new(Instant::now());
        loop {
            let reached =
                self.expected.endings.iter().all(|(handler, endings)| self.has_ended(handler, *endings));
            if reached && self.gauges.lag() == Some(0) && self.gauges.unsent().await? == 0 {
                return Ok(());
            }
            self.go_on(&mut stillness)?;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn has_ended(&self, handler: &str, endings: Endings) -> bool {
        let tallies = self.gauges.tallies();
        tallies.iter().any(|(name, totals)| name == handler && totals.ended() >= endings.all())
    }

    /// Whether there is any sense in waiting on.
    fn go_on(&self, stillness: &mut Stillness) -> anyhow::Result<()> {
        let tallies = self.gauges.tallies();
        if let Some((handler, _)) = tallies.iter().find(|(_, totals)| totals.faulted > 0) {
            bail!("a partition of {handler} stopped on a fault of the host");
        }
        if stillness.read(Instant::now(), ended(&tallies), self.gauges.lag()) {
            bail!("the host has nothing left to do, but not everything is done");
        }
        Ok(())
    }
}

async fn send(producer: &mut Producer, record: OutgoingRecord) -> anyhow::Result<()> {
    producer.send(record).await?;
    producer.settle().await
}
