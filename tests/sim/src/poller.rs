//! The model of a handler's polling thread, as a task: it does what `host/kafka` does, in the same order,
//! against the models of client, network and coordinator. Like the thread it does one thing at a time.

mod closed;
mod commits;
mod cuts;
mod cutter;
mod cutting;
mod feed;
mod holding;
mod last_cut;
mod putting_down;
mod refusals;
mod taking;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keylane_engine::{Claims, Lease, Owners, Ownership};
use tokio::sync::Notify;
use tokio::time::Instant;

use self::commits::Commits;
use self::cuts::Cuts;
use self::cutter::Cutter;
use self::feed::Feed;
pub use self::feed::{TYPE_HEADER, WANTED};
use self::holding::Holding;
pub use self::taking::TOPIC_ID;
use crate::cuts::CutPlan;
use crate::member::{Change, Membership};
use crate::mutation::Mutation;
use crate::process::Process;
use crate::trace::{Note, Place, Why};

/// The longest sleep between two looks at everything.
const RESCAN: Duration = Duration::from_millis(20);
/// Time between two tries to take partitions.
const TAKE_EVERY: Duration = Duration::from_millis(60);

/// Owns the feeds and the commits of one handler in one host.
pub struct Poller {
    handler: u8,
    process: Arc<Process>,
    membership: Arc<Membership>,
    owners: Arc<dyn Owners>,
    /// The handler's write database, if it has one.
    claims: Option<Arc<dyn Claims>>,
    doorbell: Arc<Notify>,
    feeds: Vec<Feed>,
    /// Assigned, and not taken yet.
    waiting: BTreeSet<i32>,
    next_take: Instant,
    holding: Holding,
    lease: Arc<Lease>,
    commits: Commits,
    /// For a handler in cuts.
    cuts: Option<Cuts>,
}

impl Poller {
    pub fn new(
        handler: u8,
        process: Arc<Process>,
        membership: Arc<Membership>,
        owners: Arc<dyn Owners>,
        claims: Option<Arc<dyn Claims>>,
        doorbell: Arc<Notify>,
    ) -> Self {
        let session = Duration::from_millis(process.plan.group.session_ms);
        let now = Instant::now();
        let in_cuts = process.plan.cuts[usize::from(handler)].is_some();
        let cutter = in_cuts.then(|| Cutter::start(handler, &process, &membership, &doorbell));
        Self {
            handler,
            membership,
            owners,
            claims,
            doorbell,
            feeds: Vec::new(),
            waiting: BTreeSet::new(),
            next_take: now,
            holding: Holding::default(),
            lease: Arc::new(Lease::new(session, process.clock.clone())),
            commits: Commits::new(now),
            cuts: cutter.map(Cuts::new),
            process,
        }
    }

    /// Polls until the host is asked to leave, then puts everything down and leaves the group.
    pub async fn run(mut self) {
        while !self.process.is_leaving() {
            if let Some(change) = self.membership.take_change() {
                self.change(&change).await;
                self.membership.answer(&change);
            }
            self.drop_the_unproven().await;
            self.drop_the_overtaken().await;
            self.drop_what_was_set_back().await;
            self.take_waiting().await;
            let moved = self.serve();
            self.hold_cuts_off(!self.waiting.is_empty() && Instant::now() >= self.next_take);
            self.commit();
            if moved {
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.doorbell.notified() => {}
                () = tokio::time::sleep(RESCAN) => {}
            }
        }
        self.leave().await;
    }

    async fn change(&mut self, change: &Change) {
        let handler = self.handler;
        match change {
            Change::Assigned(partitions) => {
                let partitions_told = partitions.iter().copied().collect();
                self.process.note(Note::Assigned { handler, partitions: partitions_told });
                self.waiting.extend(partitions);
            }
            Change::Revoked { partitions, lost } => {
                let told = partitions.iter().copied().collect();
                self.process.note(Note::Revoked { handler, partitions: told, lost: *lost });
                self.waiting.retain(|partition| !partitions.contains(partition));
                partitions.iter().for_each(|partition| self.holding.forget(*partition));
                let gone = self.split_off(|feed| partitions.contains(&feed.place.partition));
                let numbers: Vec<u64> = gone.iter().map(|feed| feed.number).collect();
                self.put_down(gone, if *lost { Why::Lost } else { Why::Revoked }).await;
                self.forget_cuts_of(partitions);
                self.process.note(Note::RevokeAnswered { handler, numbers });
            }
        }
    }

    /// The partitions are another host's from now on.
    fn forget_cuts_of(&mut self, partitions: &BTreeSet<i32>) {
        if let Some(cuts) = &mut self.cuts {
            partitions.iter().for_each(|partition| cuts.forget(*partition));
        }
    }

    fn split_off(&mut self, wanted: impl Fn(&Feed) -> bool) -> Vec<Feed> {
        let (gone, kept) = std::mem::take(&mut self.feeds).into_iter().partition(wanted);
        self.feeds = kept;
        gone
    }

    /// Without a proof of life the partitions may be others' by now: they are dropped, and taken anew when
    /// the group has acknowledged a commit.
    async fn drop_the_unproven(&mut self) {
        if self.process.mutated(Mutation::SkipsProofOfLife) {
            self.lease.renew(self.lease.now());
        }
        let holds = self.lease.holds();
        let gone = self.split_off(|feed| !holds || feed.inbox.ownership() == Ownership::Expired);
        if gone.is_empty() {
            return;
        }
        self.process.saw("lease out");
        self.waiting.extend(gone.iter().map(|feed| feed.place.partition));
        self.put_down(gone, Why::LeaseOut).await;
    }

    /// Partitions that the database does not leave to this host: they are dropped, and taken anew after a
    /// while.
    async fn drop_the_overtaken(&mut self) {
        let overtaken = |feed: &Feed| matches!(feed.inbox.ownership(), Ownership::Overtaken { .. });
        let gone = self.split_off(overtaken);
        if gone.is_empty() {
            return;
        }
        self.process.saw("overtaken");
        for partition in gone.iter().map(|feed| feed.place.partition) {
            if !self.process.mutated(Mutation::OvertakenForGood) {
                self.waiting.insert(partition);
            }
            self.try_later(partition);
        }
        self.put_down(gone, Why::Overtaken).await;
    }

    /// Partitions of which a cut has shown that what is known of them does not hold: they begin again from
    /// what the group has.
    async fn drop_what_was_set_back(&mut self) {
        let Some(set_back) = self.cuts.as_mut().map(Cuts::take_set_back) else { return };
        let gone = self.split_off(|feed| set_back.contains(&feed.place.partition));
        if gone.is_empty() {
            return;
        }
        self.process.saw("set back");
        self.waiting.extend(gone.iter().map(|feed| feed.place.partition));
        self.next_take = Instant::now();
        self.put_down(gone, Why::SetBack).await;
    }

    /// Reads what there is room for. Answers whether anything was.
    fn serve(&mut self) -> bool {
        let mut moved = false;
        for feed in &mut self.feeds {
            match feed.inbox.ownership() {
                Ownership::Faulted if !feed.faulted => {
                    feed.faulted = true;
                    let Feed { place, number, .. } = *feed;
                    self.process.note(Note::Faulted { place, number });
                }
                Ownership::Halted { .. } if !feed.halted => {
                    feed.halted = true;
                    self.process.saw("partition halted");
                }
                Ownership::Running => feed.halted = false,
                _ => {}
            }
            moved |= feed.serve(&self.process);
        }
        self.process.bytes_seen.fetch_max(self.process.budget.held_bytes(), Ordering::Relaxed);
        moved
    }

    async fn leave(&mut self) {
        let gone = self.split_off(|_| true);
        self.put_down(gone, Why::Leaving).await;
        self.membership.leave();
        self.process.left.fetch_add(1, Ordering::Relaxed);
    }

    fn cut_plan(&self) -> Option<&CutPlan> {
        self.process.plan.cuts[usize::from(self.handler)].as_ref()
    }

    fn place(&self, partition: i32) -> Place {
        Place { handler: self.handler, partition }
    }
}
