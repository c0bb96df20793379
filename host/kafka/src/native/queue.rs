//! The client's queues: of events, and of one partition's records.

use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as raw;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

/// Called when a queue that was empty is no longer. On a thread of the client's; must not block.
pub(crate) type Ring = Box<dyn Fn() + Send + Sync>;

/// A reference to one of the client's queues.
pub(super) struct Queue {
    queue: NonNull<raw::rd_kafka_queue_t>,
    /// Boxed twice: what a pointer of the client's names must be thin and must not move.
    #[allow(clippy::redundant_allocation, reason = "a pointer to a trait object is too wide for C")]
    ring: Option<Box<Ring>>,
}

// SAFETY: librdkafka's queues may be used and destroyed from any thread.
unsafe impl Send for Queue {}

impl Queue {
    /// Takes over a queue that the client has just handed out.
    ///
    /// # Safety
    /// `queue` is null or a reference of its own, whose client outlives the answer.
    pub(super) unsafe fn adopt(queue: *mut raw::rd_kafka_queue_t) -> Option<Self> {
        NonNull::new(queue).map(|queue| Self { queue, ring: None })
    }

    pub(super) fn ptr(&self) -> *mut raw::rd_kafka_queue_t {
        self.queue.as_ptr()
    }

    /// From now on `ring` is called when something comes. Replaces what was there for the queue.
    pub(super) fn ring_on_news(&mut self, ring: Ring) {
        unsafe extern "C" fn news(_client: *mut raw::rd_kafka_t, ring: *mut c_void) {
            // SAFETY: points to the box that its queue keeps until the callback is taken back.
            unsafe { (*ring.cast::<Ring>())() }
        }
        let mut ring = Box::new(ring);
        // SAFETY: the queue is alive, and so is the box until this callback is replaced or taken back:
        // the client calls it only while it holds the queue's lock, which replacing it takes too.
        unsafe {
            raw::rd_kafka_queue_cb_event_enable(self.ptr(), Some(news), (&raw mut *ring).cast::<c_void>());
        }
        self.ring = Some(ring);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: adopted once, destroyed once, and the client is still alive. A callback that was never
        // set here may be another's: two references to one partition's queue share it.
        unsafe {
            if self.ring.is_some() {
                raw::rd_kafka_queue_cb_event_enable(self.ptr(), None, null_mut());
            }
            raw::rd_kafka_queue_destroy(self.ptr());
        }
    }
}

/// A queue of answers. It keeps its consumer alive; drop it before the consumer is to leave its group.
pub(super) struct EventQueue<C: ConsumerContext> {
    /// Dropped before the consumer.
    queue: Queue,
    consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> EventQueue<C> {
    /// None only where the client has no memory for it.
    pub(super) fn new(consumer: Arc<BaseConsumer<C>>, ring: Ring) -> Option<Self> {
        // SAFETY: the queue is new, and its client lives at least as long as `consumer`.
        let mut queue = unsafe { Queue::adopt(raw::rd_kafka_queue_new(consumer.client().native_ptr())) }?;
        queue.ring_on_news(ring);
        Some(Self { queue, consumer })
    }

    pub(super) fn ptr(&self) -> *mut raw::rd_kafka_queue_t {
        self.queue.ptr()
    }

    pub(super) fn client(&self) -> *mut raw::rd_kafka_t {
        self.consumer.client().native_ptr()
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<C> {
        &self.consumer
    }

    /// The next answer, if one comes within the limit.
    pub(super) fn poll(&self, limit: Duration) -> Option<QueueEvent> {
        let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and the event is owned by the answer.
        NonNull::new(unsafe { raw::rd_kafka_queue_poll(self.ptr(), limit_ms) }).map(QueueEvent)
    }
}

/// An event of the client's, destroyed with this value.
pub(super) struct QueueEvent(NonNull<raw::rd_kafka_event_t>);

impl QueueEvent {
    pub(super) fn ptr(&self) -> *mut raw::rd_kafka_event_t {
        self.0.as_ptr()
    }

    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { raw::rd_kafka_event_type(self.ptr()) }
    }

    pub(super) fn error(&self) -> Option<rdkafka::error::RDKafkaErrorCode> {
        // SAFETY: the event is alive.
        super::told(unsafe { raw::rd_kafka_event_error(self.ptr()) })
    }

    /// The number that was handed over with the request.
    pub(super) fn number(&self) -> usize {
        // SAFETY: the event is alive. The pointer is only a number; nobody follows it.
        unsafe { raw::rd_kafka_event_opaque(self.ptr()) }.addr()
    }
}

impl Drop for QueueEvent {
    fn drop(&mut self) {
        // SAFETY: owned by this value, destroyed once.
        unsafe { raw::rd_kafka_event_destroy(self.ptr()) }
    }
}

/// A number in the shape the client carries for its callers.
pub(super) fn opaque(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}
