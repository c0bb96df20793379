//! What an instance's log lines are told of: its handler and the event it is at. Lines are capped in
//! number per event and in length, so that a chatty guest cannot flood the host's log.
//!
//! The instance's task writes the event, its output streams and its logging read it; the lock is held
//! for a clone only.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keylane_engine::Event;

use crate::bindings::wasi::logging::logging::Level;
use crate::limits::CapabilityLimits;

/// Where the lines of one instance go.
pub struct LogScope {
    handler: Arc<str>,
    event: Mutex<Option<Arc<Event>>>,
    lines_left: AtomicU32,
    lines_max: u32,
    line_bytes_max: usize,
}

impl LogScope {
    pub(crate) fn new(handler: Arc<str>, limits: &CapabilityLimits) -> Arc<Self> {
        Arc::new(Self {
            handler,
            event: Mutex::new(None),
            lines_left: AtomicU32::new(limits.log_lines),
            lines_max: limits.log_lines,
            line_bytes_max: limits.log_line_bytes,
        })
    }

    /// The next event begins, with its full number of lines.
    pub(crate) fn begin(&self, event: &Arc<Event>) {
        *self.event.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        self.lines_left.store(self.lines_max, Ordering::Relaxed);
    }

    /// The longest line that is kept, in bytes.
    pub(crate) fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    /// Writes one line to the host's log, unless the event has used up its lines.
    pub(crate) fn line(&self, level: Level, context: &str, message: &str) {
        if !self.take_line() {
            metrics::counter!("keylane_log_lines_dropped_total", "handler" => self.handler.to_string())
                .increment(1);
            return;
        }
        let event = self.event.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let topic = event.as_ref().map(|event| &*event.source.topic);
        let partition = event.as_ref().map(|event| event.source.partition);
        let offset = event.as_ref().map(|event| event.offset);
        let handler = &*self.handler;
        let context = cut(context, self.line_bytes_max);
        let message = cut(message, self.line_bytes_max);
        macro_rules! write_line {
            ($level:ident) => {
                tracing::$level!(target: "keylane::handler", handler, topic, partition, offset, context, "{message}")
            };
        }
        match level {
            Level::Trace => write_line!(trace),
            Level::Debug => write_line!(debug),
            Level::Info => write_line!(info),
            Level::Warn => write_line!(warn),
            Level::Error | Level::Critical => write_line!(error),
        }
    }

    /// Takes one line of the event's share; says once when it is used up.
    fn take_line(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        let before = self.lines_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        if before == Ok(1) {
            let handler = &*self.handler;
            tracing::warn!(target: "keylane::handler", handler, "the event's share of log lines is used up");
        }
        before.is_ok()
    }
}

/// The text, or as much of it as fits, at a character's edge.
pub(crate) fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}
