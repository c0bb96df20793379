//! One instance of a component: its store, its typed export and the meter of its time.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use keylane_capability::bindings::keylane::handler::types::Event as GuestEvent;
use keylane_capability::bindings::{Failure, Handler, HandlerPre};
use keylane_capability::{GuestState, Prepared, elsewhere_most};
use keylane_deployment::Limits;
use wasmtime::{Store, StoreContextMut, UpdateDeadline};

use crate::census::{Census, End, Entry};
use crate::engine::EPOCH_TICK;
use crate::failure::AttemptFailure;
use crate::meter::Meter;

/// Past its own time a computing guest is interrupted at the next tick, with the place where it was. Only a
/// guest that does not compute (it sleeps) is left for the backstop, which waits this much longer.
const SLEEPER_GRACE: Duration = EPOCH_TICK.saturating_mul(5);

/// How many host calls of full length one event may wait for; it bounds the event as a whole.
const HOST_CALLS_AWAITED: u32 = 20;

/// Everything that is needed to make an instance: linked once, used for each.
pub(crate) struct Blueprint {
    pub(crate) component: HandlerPre<GuestState>,
    pub(crate) prepared: Prepared,
    pub(crate) limits: Limits,
}

/// A living instance. It handles one event at a time.
pub(crate) struct Instance {
    pub(crate) store: Store<GuestState>,
    handler: Handler,
    meter: Arc<Meter>,
    entry: Entry,
    /// Events it was given so far.
    pub(crate) events: u32,
    /// Since when it waits in the pool.
    pub(crate) idle_since: Instant,
}

impl Instance {
    /// Makes an instance. Code that runs at instantiation is bounded as an event is.
    pub(crate) async fn make(blueprint: &Blueprint, census: &Arc<Census>) -> Result<Self, AttemptFailure> {
        let limits = &blueprint.limits;
        let meter = Meter::new();
        let mut store = new_store(blueprint, &meter);
        let made = {
            let watch = pin!(watch(&store, meter.clone(), limits));
            let making = pin!(blueprint.component.instantiate_async(&mut store));
            first_of(making, watch).await
        };
        let handler =
            made?.map_err(|error| AttemptFailure::trapped(&error, store.data().memory_refused(), limits))?;
        let entry = census.born();
        Ok(Self { store, handler, meter, entry, events: 0, idle_since: Instant::now() })
    }

    /// Hands the event to the component, within all limits of time.
    pub(crate) async fn call(
        &mut self,
        event: &GuestEvent,
        limits: &Limits,
    ) -> Result<Result<(), Failure>, AttemptFailure> {
        self.events = self.events.saturating_add(1);
        self.meter.begin();
        self.store.set_epoch_deadline(1);
        let answer = {
            let watch = pin!(watch(&self.store, self.meter.clone(), limits));
            let call = pin!(self.handler.call_handle(&mut self.store, event));
            first_of(call, watch).await
        };
        // What remains of this event's host time is not the next one's.
        let _ = self.store.data_mut().take_host_time();
        answer?.map_err(|error| AttemptFailure::trapped(&error, self.store.data().memory_refused(), limits))
    }

    /// Ends the instance, for this reason.
    pub(crate) fn end(mut self, end: End) {
        self.entry.end = end;
    }
}

fn new_store(blueprint: &Blueprint, meter: &Arc<Meter>) -> Store<GuestState> {
    let mut store = Store::new(blueprint.component.engine(), blueprint.prepared.state());
    store.limiter(GuestState::limiter);
    let meter = meter.clone();
    let limit = blueprint.limits.time;
    store.epoch_deadline_callback(move |state| Ok(at_tick(state, &meter, limit)));
    store.set_epoch_deadline(1);
    store
}

/// Called on the guest's stack when the epoch has advanced while it computed.
fn at_tick(
    mut state: StoreContextMut<'_, GuestState>,
    meter: &Arc<Meter>,
    limit: Duration,
) -> UpdateDeadline {
    meter.exclude(state.data_mut().take_host_time());
    if meter.own_time() >= limit {
        return UpdateDeadline::Interrupt;
    }
    UpdateDeadline::YieldCustom(1, Box::pin(meter.clone().stand_aside()))
}

/// The backstop: ends when the call has used up its time without computing, or when its host calls together
/// took too long. Not polled, and so free, while the component answers at once.
fn watch(
    store: &Store<GuestState>,
    meter: Arc<Meter>,
    limits: &Limits,
) -> impl Future<Output = AttemptFailure> + Send + use<> {
    let host_clock = store.data().host_clock();
    let own_max = limits.time.saturating_add(SLEEPER_GRACE);
    // One query elsewhere that is late must come to its own end.
    let host_max = limits.host_call.saturating_mul(HOST_CALLS_AWAITED).max(elsewhere_most(limits.host_call));
    let time = limits.time;
    async move {
        let begun = Instant::now();
        loop {
            let own = meter.own_time().saturating_sub(host_clock.spent());
            if own >= own_max {
                return AttemptFailure::timed_out(time, ", asleep or waiting");
            }
            let left = own_max.saturating_add(host_max).saturating_sub(begun.elapsed());
            if left.is_zero() {
                return AttemptFailure::waited_out(host_max);
            }
            tokio::time::sleep(left.min(own_max.saturating_sub(own))).await;
        }
    }
}

/// The work's answer, or the watch's if it ends first: then the work is dropped where it stands. The work
/// is polled first, so that a watch is never asked about work that ends at once.
async fn first_of<T>(
    work: Pin<&mut impl Future<Output = T>>,
    watch: Pin<&mut impl Future<Output = AttemptFailure>>,
) -> Result<T, AttemptFailure> {
    match select(work, watch).await {
        Either::Left((answer, _)) => Ok(answer),
        Either::Right((failure, _)) => Err(failure),
    }
}
