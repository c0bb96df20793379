//! A relay whose process is stopped anywhere, in the middle of a transaction too, and goes on later.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll};

use keylane_effects::{Database, MailSender, Relay, RelayStatus};
use keylane_engine::Boxed;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fragile::{Fragile, Life};
use super::world::World;
use super::{Writer, check, config, emptied, some_rows, start, taken_and_unsent, until};
use crate::suite::{Ground, LONG};

/// Wakes of calls to the database, each of which a relay is stopped at in turn. Taking over, a batch, its end
/// and a handful of mails are fewer.
const WAKES: i64 = 40;

/// Stops the thread, and with it all of a relay that has no other, when it was woken so often.
pub struct Frost {
    left: AtomicI64,
    frozen: watch::Sender<bool>,
    thawed: (Mutex<bool>, Condvar),
}

impl Frost {
    pub fn never() -> Arc<Self> {
        Self::after(i64::MAX)
    }

    fn after(wakes: i64) -> Arc<Self> {
        let (left, frozen) = (AtomicI64::new(wakes), watch::Sender::new(false));
        Arc::new(Self { left, frozen, thawed: (Mutex::new(false), Condvar::new()) })
    }

    fn wake(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.frozen.send_replace(true);
            let (thawed, bell) = &self.thawed;
            drop(bell.wait_while(thawed.lock().unwrap(), |thawed| !*thawed).unwrap());
        }
    }

    fn thaw(&self) {
        *self.thawed.0.lock().unwrap() = true;
        self.thawed.1.notify_all();
    }
}

/// Thaws at the latest when it is dropped: nobody could end a thread that is frozen.
struct Thawed(Arc<Frost>);

impl Drop for Thawed {
    fn drop(&mut self) {
        self.0.thaw();
    }
}

/// A call at whose wakes the frost may come.
pub struct Freezing<'a, T> {
    call: Boxed<'a, T>,
    frost: Arc<Frost>,
}

impl<'a, T> Freezing<'a, T> {
    pub fn new(call: impl Future<Output = T> + Send + 'a, frost: &Arc<Frost>) -> Self {
        Self { call: Box::pin(call), frost: frost.clone() }
    }
}

impl<T> Future for Freezing<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.frost.wake();
        self.call.as_mut().poll(context)
    }
}

/// A thread of its own for relays that are stopped.
struct Room {
    runtime: Handle,
    over: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Room {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (over, waits) = tokio::sync::oneshot::channel();
        let handle = runtime.handle().clone();
        let thread = std::thread::spawn(move || drop(runtime.block_on(waits)));
        Self { runtime: handle, over: Some(over), thread: Some(thread) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.over.take());
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

/// One relay is stopped at each wake in turn. Another one takes over, or, where the first one keeps it from the
/// database, says so; then the first one goes on. Here is the first one's database, there the other one's; both
/// wait for a writer only for a moment, whoever looks on waits for longer.
pub async fn one_that_is_frozen_anywhere_does_no_harm(ground: &Ground, onlooker: &Arc<dyn Database>) {
    let (world, outbox, room) = (World::default(), onlooker.clone().outbox(), Room::new());
    let mut writer = Writer::new(onlooker).await;
    let (mut written, mut twice) = (0, BTreeSet::new());
    for wakes in 1..=WAKES {
        let (life, frost) = (Life::immortal(), Frost::after(wakes));
        let fragile = Fragile { frost: frost.clone(), ..Fragile::new(ground.here.clone().outbox(), &life) };
        let ways = world.ways(&life);
        let mail: Arc<dyn MailSender> = ways.clone();
        writer.write(some_rows(written..written + 10)).await;
        written += 10;
        let _thawed = Thawed(frost.clone());
        let first = Relay::start(&room.runtime, Arc::new(fragile), ways, Some(mail), config("first"));
        let mut frozen = frost.frozen.subscribe();
        let came = tokio::time::timeout(LONG, frozen.wait_for(|frozen| *frozen)).await.is_ok();
        assert!(came, "it was not woken {wakes} times");
        twice.extend(taken_and_unsent(&world, &*outbox).await);
        let second = start(&ground.there, &world, &Life::immortal(), "second");
        let status = second.status();
        let is_kept_out = || matches!(*status.borrow(), RelayStatus::Failing { .. });
        until("the other one", async || {
            let counts = outbox.counts().await.unwrap();
            counts.records + counts.mails == 0 || is_kept_out()
        })
        .await;
        frost.thaw();
        writer.write(some_rows(written..written + 5)).await;
        written += 5;
        emptied(&*outbox).await;
        first.stop().await;
        second.stop().await;
    }
    check(&world, written, &twice);
}
