//! The warm pool of one revision.
//!
//! Who owns: a run owns the instance that it has taken, the pool owns the idle ones. Who waits: a run that
//! finds all instances taken. Who wakes: a run that ends gives its place to the one that waits longest.
//! What bounds: `limits.concurrency` places, and so as many instances. The idle ones are taken last in,
//! first out, so that in quiet times the others grow old and are ended by the reaper.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use keylane_engine::{Epoch, Fence, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::census::{Census, End};
use crate::engine::GuestOptions;
use crate::failure::AttemptFailure;
use crate::instance::{Blueprint, Instance};
use crate::progress::DeliveryMeters;
use crate::transaction::{Losses, RunMeters};

/// How much longer than its limit an idle instance may live, as a part of that limit.
const REAPER_LOOKS_PER_IDLE: u32 = 4;

/// The shortest time between two looks of the reaper.
const REAPER_LOOK_MIN: Duration = Duration::from_millis(10);

/// The instances of one revision.
pub(crate) struct Pool {
    handler: Arc<str>,
    pub(crate) blueprint: Blueprint,
    pub(crate) census: Arc<Census>,
    pub(crate) deliveries: DeliveryMeters,
    pub(crate) run_meters: RunMeters,
    pub(crate) losses: Losses,
    places: Arc<Semaphore>,
    /// The lock is held for a push, a pop or a cut, never across an await.
    idle: Mutex<Idle>,
    instance_events: u32,
    instance_idle: Duration,
}

/// The instances that nobody works with.
#[derive(Default)]
struct Idle {
    /// The oldest stand first.
    instances: Vec<Instance>,
    /// How often all of them were ended. One that was taken before is not taken back after.
    age: u64,
    /// Under which ownership each partition was handled last: its number in the database, which a replay changes, and
    /// its epoch. As many as it has had.
    owned: BTreeMap<TopicPartition, (i64, Epoch)>,
}

impl Pool {
    /// An empty pool, with its reaper. Needs the async runtime.
    pub(crate) fn new(handler: Arc<str>, blueprint: Blueprint, options: &GuestOptions) -> Arc<Self> {
        let pool = Arc::new(Self {
            census: Census::new(handler.clone()),
            deliveries: DeliveryMeters::of(&handler),
            run_meters: RunMeters::of(&handler),
            losses: Losses::default(),
            places: Arc::new(Semaphore::new(blueprint.limits.concurrency.max(1))),
            idle: Mutex::default(),
            instance_events: options.instance_events,
            instance_idle: options.instance_idle,
            blueprint,
            handler,
        });
        tokio::spawn(reap(Arc::downgrade(&pool), options.instance_idle));
        pool
    }

    /// Waits for a place and takes the warmest instance there is; without one, the place is empty and an
    /// instance is made when it is asked for.
    pub(crate) async fn take(self: &Arc<Self>) -> Lease {
        let since = Instant::now();
        // Nobody closes the semaphore; if somebody did, a run without a place would be the smaller harm.
        let place = self.places.clone().acquire_owned().await.ok();
        metrics::histogram!("keylane_instance_wait_seconds", "handler" => self.handler.to_string())
            .record(since.elapsed().as_secs_f64());
        let mut idle = self.idle();
        let (instance, age) = (idle.instances.pop(), idle.age);
        drop(idle);
        Lease { instance, pool: self.clone(), at_work: false, age, _place: place }
    }

    /// Makes the first instance, so that a component that cannot even start is refused at once.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<(), AttemptFailure> {
        self.take().await.instance().await.map(drop)
    }

    fn give_back(&self, mut instance: Instance, age: u64) {
        if instance.events >= self.instance_events {
            return instance.end(End::Worn);
        }
        instance.idle_since = Instant::now();
        let mut idle = self.idle();
        if idle.age == age {
            return idle.instances.push(instance);
        }
        drop(idle);
        instance.end(End::Undone);
    }

    /// Ends the idle instances at once, and those at work when their runs are over: the database may have
    /// forgotten what they remember.
    pub(crate) fn end_all(&self) {
        let mut idle = self.idle();
        idle.age += 1;
        let instances = std::mem::take(&mut idle.instances);
        drop(idle);
        instances.into_iter().for_each(|instance| instance.end(End::Undone));
    }

    /// A run begins under this ownership of its partition. If it was taken anew since the last one, the database may
    /// have gone back meanwhile, without a run that met it: all instances end.
    pub(crate) fn follow(&self, partition: &TopicPartition, fence: Fence) {
        let own = (fence.stream, fence.epoch);
        let former = self.idle().owned.insert(partition.clone(), own);
        if former.is_some_and(|former| former != own) {
            self.end_all();
        }
    }

    /// Ends what has been idle too long.
    fn end_idle(&self, now: Instant) {
        let old: Vec<Instance> = {
            let mut idle = self.idle();
            let is_old = |instance: &Instance| now.duration_since(instance.idle_since) >= self.instance_idle;
            let count = idle.instances.iter().take_while(|instance| is_old(instance)).count();
            idle.instances.drain(..count).collect()
        };
        old.into_iter().for_each(|instance| instance.end(End::Idle));
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the idle instances now and then; ends with the pool, at the next look.
async fn reap(pool: Weak<Pool>, idle: Duration) {
    let look = (idle / REAPER_LOOKS_PER_IDLE).max(REAPER_LOOK_MIN);
    loop {
        tokio::time::sleep(look).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.end_idle(Instant::now());
    }
}

/// A place in the pool, with the instance that works there. Dropped while it is at work, which means that its
/// run was given up, it ends the instance; else the instance goes back.
pub(crate) struct Lease {
    pool: Arc<Pool>,
    instance: Option<Instance>,
    at_work: bool,
    /// The pool's age when the place was taken.
    age: u64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Lease {
    /// The instance of this place, made if there is none.
    pub(crate) async fn instance(&mut self) -> Result<&mut Instance, AttemptFailure> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => Instance::make(&self.pool.blueprint, &self.pool.census).await?,
        };
        Ok(self.instance.insert(instance))
    }

    /// Work begins on this place: an event, or a run that is undone as a whole.
    pub(crate) fn begin(&mut self) {
        self.at_work = true;
    }

    /// The work ended well: its instance may go on, unless it has had its share.
    pub(crate) fn succeed(&mut self) {
        self.at_work = false;
        self.replace_worn();
    }

    /// The event failed: its instance ends.
    pub(crate) fn fail(&mut self) {
        self.end(End::Failed);
    }

    /// The run is undone, and its instance remembers what the database forgot: it ends.
    pub(crate) fn undo(&mut self) {
        self.end(End::Undone);
    }

    /// Ends an instance that has served before: the next event gets a fresh one.
    pub(crate) fn replace(&mut self) {
        if self.events() > 0 {
            self.end(End::Worn);
        }
    }

    /// Ends an instance that has had its share of events.
    pub(crate) fn replace_worn(&mut self) {
        if self.events() >= self.pool.instance_events {
            self.end(End::Worn);
        }
    }

    /// How many events its instance was given so far.
    pub(crate) fn events(&self) -> u32 {
        self.instance.as_ref().map_or(0, |instance| instance.events)
    }

    fn end(&mut self, end: End) {
        if let Some(instance) = self.instance.take() {
            instance.end(end);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.at_work {
            return self.end(End::Abandoned);
        }
        if let Some(instance) = self.instance.take() {
            self.pool.give_back(instance, self.age);
        }
    }
}
