//! The data of one instance: what it may use, and what its event has done so far.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use keylane_effects::OutboxRow;
use keylane_engine::{Event, OutgoingRecord, TopicId};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::at_work::AtWork;
use crate::capability::{Pending, Session};
use crate::clock::{HostCall, HostClock};
use crate::error::EffectsError;
use crate::http::HttpSession;
use crate::memory::MemoryLimits;
use crate::scope::LogScope;
use crate::transaction::RunSlot;

/// The data of one instance's store. Dropping it at any time is safe: what was held is dropped with it.
pub struct GuestState {
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    memory: MemoryLimits,
    clock: Arc<HostClock>,
    scope: Arc<LogScope>,
    sessions: Vec<Box<dyn Session>>,
    /// The event at work, or the last one.
    at: Option<Arc<AtWork>>,
    /// In the place of a session of requests, where none is granted.
    no_requests: HttpSession,
}

impl GuestState {
    pub(crate) fn new(
        scope: Arc<LogScope>,
        memory: MemoryLimits,
        handles_max: usize,
        sessions: Vec<Box<dyn Session>>,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(handles_max);
        let wasi = crate::wasi::context(&scope);
        let no_requests = HttpSession::closed();
        Self { table, wasi, memory, clock: HostClock::new(), scope, sessions, at: None, no_requests }
    }

    /// An event of the topic with this id begins, in the run's transaction if its handler writes to a
    /// database. Handles stay: the language's runtime keeps those of its output, and a database's holds
    /// nothing but a name.
    pub fn begin(&mut self, event: &Arc<Event>, topic_id: TopicId, run: Option<&Arc<RunSlot>>) {
        self.memory.forget();
        self.scope.begin(event);
        let at = AtWork::new(event, topic_id, run);
        for session in &mut self.sessions {
            session.begin(&at);
        }
        self.at = Some(at);
    }

    /// Why the event fails through no fault of its own, if a database that it reads was not to be had. Then what its
    /// handler answers, or how its call ends, does not matter: it may have been for that.
    #[must_use]
    pub fn away(&self) -> Option<EffectsError> {
        self.at.as_ref()?.is_away()
    }

    /// The event's end in a run's transaction: what it gave out, as rows to be committed with it. Nothing
    /// has left, so the event may still be undone and done again.
    ///
    /// # Errors
    /// Says what had failed. All that was held is dropped.
    pub fn outbox(&mut self) -> Result<Vec<OutboxRow>, EffectsError> {
        self.close()?;
        let mut rows = Vec::new();
        for session in &mut self.sessions {
            let ordinal = i32::try_from(rows.len()).unwrap_or(i32::MAX);
            rows.extend(session.rows(ordinal));
        }
        Ok(rows)
    }

    /// The event's end for a handler in cuts: its records, to be committed with its progress. Nothing has left.
    ///
    /// # Errors
    /// As [`Self::outbox`].
    pub fn records(&mut self) -> Result<Vec<OutgoingRecord>, EffectsError> {
        self.close()?;
        Ok(self.sessions.iter_mut().flat_map(|session| session.records()).collect())
    }

    /// The event's end for every other: its records are handed over. The answer is to be awaited: it is ready
    /// when all of them are acknowledged. The event is done only then.
    ///
    /// # Errors
    /// Says what did not become real. What was not handed over by then is dropped.
    pub async fn commit(&mut self) -> Result<Delivery, EffectsError> {
        self.close()?;
        let released = self.release().await;
        if released.is_err() {
            self.forget();
        }
        released
    }

    fn close(&mut self) -> Result<(), EffectsError> {
        let closed = self.sessions.iter_mut().try_for_each(|session| session.close());
        if closed.is_err() {
            self.forget();
        }
        closed
    }

    async fn release(&mut self) -> Result<Delivery, EffectsError> {
        let mut pending = Vec::new();
        for session in &mut self.sessions {
            match session.release().await {
                Ok(more) => pending.extend(more),
                Err(error) => {
                    // What has left already is awaited before the failure is told, so that no record of
                    // this attempt can arrive behind those of the next one.
                    let _ = Delivery::of(pending).await;
                    return Err(error);
                }
            }
        }
        Ok(Delivery::of(pending))
    }

    /// Drops what the event has done and holds. Its statements are undone by whoever owns the run's
    /// transaction.
    pub fn forget(&mut self) {
        for session in &mut self.sessions {
            session.forget();
        }
    }

    /// Time spent inside host calls since this was last asked. It is never the guest's own.
    pub fn take_host_time(&mut self) -> Duration {
        self.clock.take()
    }

    /// The clock of host calls, to be read from outside while a call is under way.
    #[must_use]
    pub fn host_clock(&self) -> Arc<HostClock> {
        self.clock.clone()
    }

    /// Whether memory or table elements were refused since the event began (or, before the first event,
    /// since the instance was made): a trap that follows is for want of memory.
    #[must_use]
    pub fn memory_refused(&self) -> bool {
        self.memory.refused()
    }

    /// For `Store::limiter`.
    pub fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.memory
    }

    /// The requests of this instance, and the table that their handles stand in.
    pub(crate) fn http_session(&mut self) -> (&mut HttpSession, &mut ResourceTable) {
        let session = find(&mut self.sessions).unwrap_or(&mut self.no_requests);
        (session, &mut self.table)
    }

    /// The table of handles, to wait for some of them. What waits for an answer to a request is a host call.
    pub(crate) fn waiting(&mut self) -> (&mut ResourceTable, Option<HostCall>) {
        let under_way = find::<HttpSession>(&mut self.sessions).is_some_and(|session| session.is_under_way());
        let call = under_way.then(|| self.clock.enter());
        (&mut self.table, call)
    }

    /// A host call begins; it ends when the answer is dropped.
    pub(crate) fn host_call(&self) -> HostCall {
        self.clock.enter()
    }

    /// The session of a capability. Only granted interfaces are linked, so it is there; if it is not,
    /// the guest traps.
    pub(crate) fn session<S: Session>(&mut self) -> wasmtime::Result<&mut S> {
        find(&mut self.sessions).ok_or_else(|| {
            wasmtime::Error::msg("an interface is linked that was not prepared for this handler")
        })
    }
}

fn find<S: Session>(sessions: &mut [Box<dyn Session>]) -> Option<&mut S> {
    sessions.iter_mut().find_map(|session| {
        let session: &mut dyn Any = &mut **session;
        session.downcast_mut::<S>()
    })
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Effects that have left, to be awaited until all of them are acknowledged. Dropped before its end,
/// records may still arrive.
#[must_use = "the event is done only when its delivery is acknowledged"]
pub struct Delivery {
    /// None when there is nothing to wait for.
    pending: Option<Pending>,
}

impl Delivery {
    fn of(mut pending: Vec<Pending>) -> Self {
        if pending.len() < 2 {
            return Self { pending: pending.pop() };
        }
        // One after another; after a failure the others are not begun.
        let all = async move {
            for one in pending {
                one.await?;
            }
            Ok(())
        };
        Self { pending: Some(Box::pin(all)) }
    }

    /// Whether there is nothing to wait for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_none()
    }
}

impl Future for Delivery {
    type Output = Result<(), EffectsError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Ok(())) };
        let polled = pending.as_mut().poll(context);
        if polled.is_ready() {
            self.pending = None;
        }
        polled
    }
}
