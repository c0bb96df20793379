//! `producer`: records for other topics. They are held until the event's end. With a database that the
//! handler writes to they become rows of its outbox, committed with the event; for a handler in cuts they are
//! committed with its progress; without either they are handed over in order, and the event is done when all
//! of them are acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use keylane_deployment::{Grants, ProducerGrant};
use keylane_effects::{OutboxRow, record_row};
use keylane_engine::{Acknowledgement, Event, Header, OutgoingRecord, Publisher};
use wasmtime::component::{HasSelf, Linker};

use crate::at_work::AtWork;
use crate::bindings::keylane::handler::producer::{self, Error, Message};
use crate::capability::{Boxed, Capability, Part, Pending, Preparation, Session};
use crate::error::{CapabilityError, EffectsError};
use crate::limits::{self, CapabilityLimits};
use crate::scope::LogScope;
use crate::state::GuestState;
use crate::trace;

/// Names the event that a record was made from, as `topic/partition/offset`. The host's own: one that
/// a handler sets is replaced.
const ORIGIN_HEADER: &str = "keylane-origin";

/// The capability.
pub(crate) struct Producer;

impl Capability for Producer {
    fn interfaces(&self) -> &'static [&'static str] {
        &["keylane:handler/producer"]
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.producer] with topics = [\"...\"]"
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.producer.is_some()
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        producer::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        let grant = preparation.manifest.grants.producer.clone();
        let grant = grant.unwrap_or(ProducerGrant { topics: Vec::new(), records_max: 0 });
        let handler = preparation.manifest.name.clone();
        let part: Box<dyn Part> = Box::new(ProducerPart {
            granted: Arc::new(Granted {
                handler: handler.clone(),
                topics: grant.topics.into_iter().collect(),
                records_max: grant.records_max,
                limits: preparation.resources.limits,
                publisher: preparation.resources.publisher.clone(),
                held: metrics::gauge!("keylane_records_held", "handler" => handler.clone()),
                held_bytes: metrics::gauge!("keylane_records_held_bytes", "handler" => handler.clone()),
                limits_reached: limits::reached(&handler, "producer"),
                published: metrics::counter!("keylane_records_published_total", "handler" => handler),
            }),
        });
        Box::pin(std::future::ready(Ok(part)))
    }
}

/// What all instances of a revision share.
struct Granted {
    handler: String,
    topics: BTreeSet<String>,
    records_max: usize,
    limits: CapabilityLimits,
    publisher: Arc<dyn Publisher>,
    held: metrics::Gauge,
    held_bytes: metrics::Gauge,
    limits_reached: metrics::Counter,
    published: metrics::Counter,
}

struct ProducerPart {
    granted: Arc<Granted>,
}

impl Part for ProducerPart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(ProducerSession {
            granted: self.granted.clone(),
            event: None,
            records: Vec::new(),
            held_bytes: 0,
        })
    }
}

/// The records of one event. Bounded by the grant's count and the host's bytes.
struct ProducerSession {
    granted: Arc<Granted>,
    event: Option<Arc<Event>>,
    records: Vec<OutgoingRecord>,
    held_bytes: usize,
}

impl ProducerSession {
    fn hold(&mut self, message: Message) -> Result<(), Error> {
        let granted = &self.granted;
        if !granted.topics.contains(&message.topic) {
            return Err(Error::NotGranted(format!(
                "the manifest does not grant the topic {:?}; add it to topics under [grants.producer]",
                message.topic
            )));
        }
        let limit = |said: String| {
            granted.limits_reached.increment(1);
            Err(Error::Limit(said))
        };
        if self.records.len() >= granted.records_max {
            return limit(format!("one event may produce {} records (records-max)", granted.records_max));
        }
        if message.headers.len() > granted.limits.headers {
            return limit(format!("a record may have {} headers", granted.limits.headers));
        }
        let size = size_bytes(&message);
        if size > granted.limits.record_bytes {
            return limit(format!(
                "the record has {size} bytes, {} are allowed",
                granted.limits.record_bytes
            ));
        }
        if self.held_bytes.saturating_add(size) > granted.limits.held_bytes {
            return limit(format!("the records of one event may have {} bytes", granted.limits.held_bytes));
        }
        self.held_bytes = self.held_bytes.saturating_add(size);
        self.records.push(outgoing(message, &granted.handler, self.event.as_deref()));
        granted.held.increment(1.0);
        granted.held_bytes.increment(size as f64);
        Ok(())
    }

    fn drop_held(&mut self) -> Vec<OutgoingRecord> {
        self.granted.held_bytes.decrement(std::mem::take(&mut self.held_bytes) as f64);
        let records = std::mem::take(&mut self.records);
        for _ in &records {
            self.granted.held.decrement(1.0);
        }
        records
    }

    async fn hand_over(&mut self) -> Result<Option<Pending>, EffectsError> {
        let records = self.drop_held();
        let mut acknowledgements = Vec::with_capacity(records.len());
        for record in records {
            match self.granted.publisher.publish(record).await {
                Ok(acknowledgement) => acknowledgements.push(acknowledgement),
                Err(error) => {
                    // Those that have left are awaited first: nothing of this attempt may still be under
                    // way when the next one begins.
                    let _ = all_acknowledged(acknowledgements).await;
                    return Err(error.into());
                }
            }
        }
        if acknowledgements.is_empty() {
            return Ok(None);
        }
        let published = self.granted.published.clone();
        Ok(Some(Box::pin(async move {
            let count = acknowledgements.len();
            all_acknowledged(acknowledgements).await?;
            published.increment(u64::try_from(count).unwrap_or(u64::MAX));
            Ok(())
        })))
    }
}

/// Awaits every one, also after a failure; answers the first failure.
async fn all_acknowledged(acknowledgements: Vec<Acknowledgement>) -> Result<(), EffectsError> {
    let mut ended = Ok(());
    for acknowledgement in acknowledgements {
        let one = acknowledgement.await;
        ended = ended.and(one);
    }
    ended.map_err(EffectsError::from)
}

impl Session for ProducerSession {
    fn begin(&mut self, at: &Arc<AtWork>) {
        self.drop_held();
        self.event = Some(at.event.clone());
    }

    fn rows(&mut self, ordinal: i32) -> Vec<OutboxRow> {
        let Some(event) = self.event.clone() else { return Vec::new() };
        let records = self.drop_held();
        (ordinal..).zip(&records).map(|(ordinal, record)| record_row(event.offset, ordinal, record)).collect()
    }

    fn records(&mut self) -> Vec<OutgoingRecord> {
        self.drop_held()
    }

    fn release(&mut self) -> Boxed<'_, Result<Option<Pending>, EffectsError>> {
        Box::pin(self.hand_over())
    }

    fn forget(&mut self) {
        self.drop_held();
    }
}

impl Drop for ProducerSession {
    fn drop(&mut self) {
        self.drop_held();
    }
}

/// What a record weighs, in bytes: its contents, without Kafka's own overhead.
fn size_bytes(message: &Message) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = message.headers.iter().map(|header| header.name.len() + length(&header.value)).sum();
    message.topic.len() + length(&message.key) + length(&message.value) + headers
}

/// The record as it will leave, with the identity and the trace of the event it was made from.
fn outgoing(message: Message, handler: &str, event: Option<&Event>) -> OutgoingRecord {
    let mut headers: Vec<Header> = message
        .headers
        .into_iter()
        .filter(|header| header.name != ORIGIN_HEADER)
        .map(|header| Header { name: header.name, value: header.value.map(Bytes::from) })
        .collect();
    if let Some(event) = event {
        let source = &event.source;
        let origin = format!("{}/{}/{}", source.topic, source.partition, event.offset);
        headers.push(Header { name: ORIGIN_HEADER.to_owned(), value: Some(origin.into()) });
        trace::pass_on(handler, event, &mut headers);
    }
    OutgoingRecord {
        topic: message.topic,
        key: message.key.map(Bytes::from),
        value: message.value.map(Bytes::from),
        headers,
    }
}

impl producer::Host for GuestState {
    async fn send(&mut self, message: Message) -> wasmtime::Result<Result<(), Error>> {
        let _call = self.host_call();
        Ok(self.session::<ProducerSession>()?.hold(message))
    }
}
