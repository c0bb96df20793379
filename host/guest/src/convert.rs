//! The engine's event in the words of `wit/`.

use keylane_capability::bindings::keylane::handler::types::{
    Event as GuestEvent, Header as GuestHeader, Timestamp as GuestTimestamp, TimestampKind as GuestKind,
};
use keylane_engine::{Event, Header, Timestamp, TimestampKind};

/// The event as the component sees it.
pub(crate) fn guest_event(event: &Event, attempt: u32) -> GuestEvent {
    GuestEvent {
        topic: event.source.topic.as_ref().to_owned(),
        partition: event.source.partition,
        offset: event.offset,
        timestamp: event.timestamp.map(guest_timestamp),
        key: event.key.as_deref().map(<[u8]>::to_vec),
        value: event.value.as_deref().map(<[u8]>::to_vec),
        headers: event.headers.iter().map(guest_header).collect(),
        attempt,
    }
}

fn guest_header(header: &Header) -> GuestHeader {
    GuestHeader { name: header.name.clone(), value: header.value.as_deref().map(<[u8]>::to_vec) }
}

fn guest_timestamp(timestamp: Timestamp) -> GuestTimestamp {
    let kind = match timestamp.kind {
        TimestampKind::CreateTime => GuestKind::CreateTime,
        TimestampKind::LogAppendTime => GuestKind::LogAppendTime,
    };
    GuestTimestamp { at_ms: timestamp.at_ms, kind }
}
