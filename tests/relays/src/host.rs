//! The model of a host: a process with a runtime of its own, in which the real relay runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keylane_effects::{Relay, RelayConfig, RelayStatus};
use keylane_sim::HostClock;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::ways;
use crate::mails::Post;
use crate::outbox::LinkedOutbox;
use crate::plan::Plan;
use crate::shared::{Link, Shared};

/// A process that runs.
pub struct Host {
    runtime: Runtime,
    link: Link,
    clock: Arc<HostClock>,
    status: watch::Receiver<RelayStatus>,
    /// None when it was asked to end.
    relay: Option<Relay>,
    ending: Option<JoinHandle<()>>,
    /// How far it has got, in the world's time.
    reached_ms: u64,
    stopped_until_ms: Option<u64>,
}

impl Host {
    /// Starts the process, in the life with this number.
    pub fn start(host: usize, life: u64, now_ms: u64, plan: &Plan, shared: &Arc<Mutex<Shared>>) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let clock = Arc::new(HostClock::new(now_ms));
        let link = Link::new((host, life), plan, clock.clone(), shared.clone());
        // Two worlds may live at once in this process, and the hosts of one are processes of their own.
        let identity = format!("{:p} {host} {life}", Arc::as_ptr(shared));
        let outbox = Arc::new(LinkedOutbox::new(identity, link.clone()));
        let mut config = RelayConfig::new("fleet", format!("host {host}"), "books", clock.clone());
        config.lease = Duration::from_millis(plan.lease_ms);
        let relay = runtime.block_on(async {
            // The first look at the clock sets where it begins.
            let _now = clock.now_ms();
            let post = Arc::new(Post { link: link.clone() });
            Relay::start(&tokio::runtime::Handle::current(), outbox, ways(&link), Some(post), config)
        });
        let status = relay.status();
        let (relay, ending) = (Some(relay), None);
        Self { runtime, link, clock, status, relay, ending, reached_ms: now_ms, stopped_until_ms: None }
    }

    /// Lets the process get on until this time.
    pub fn run_to(&mut self, until_ms: u64) {
        if let Some(stopped_until_ms) = self.stopped_until_ms {
            if until_ms < stopped_until_ms {
                return;
            }
            self.stopped_until_ms = None;
            let late = Duration::from_millis(until_ms - self.reached_ms);
            self.runtime.block_on(tokio::time::advance(late));
        } else {
            let clock = self.clock.clone();
            self.runtime.block_on(async move { tokio::time::sleep_until(clock.at(until_ms)).await });
        }
        self.reached_ms = until_ms;
    }

    /// Stops the process until then.
    pub fn stop(&mut self, until_ms: u64) {
        self.stopped_until_ms = self.stopped_until_ms.max(Some(until_ms));
    }

    /// Stops the process at one of its next requests.
    pub fn stop_at(&self, requests: u64, for_ms: u64) {
        self.link.stop_at(requests, for_ms);
    }

    /// Asks the relay to end when what is there has left.
    pub fn leave(&mut self) {
        if let Some(relay) = self.relay.take() {
            self.ending = Some(self.runtime.spawn(relay.stop()));
        }
    }

    pub fn is_leaving(&self) -> bool {
        self.relay.is_none()
    }

    pub fn has_left(&self) -> bool {
        self.ending.as_ref().is_some_and(JoinHandle::is_finished)
    }

    pub fn is_relaying(&self) -> bool {
        *self.status.borrow() == RelayStatus::Relaying
    }

    /// Why it waits for an operator, if it does.
    pub fn stopped_because(&self) -> Option<String> {
        match &*self.status.borrow() {
            RelayStatus::Stopped { reason } if !self.is_leaving() && self.stopped_until_ms.is_none() => {
                Some(reason.clone())
            }
            _ => None,
        }
    }
}
