//! Trace context (W3C Trace Context, level 1): the trace of an event goes on in the records made from it.
//!
//! The handling of an event is a span of its own. Its id is drawn from who handles which event, so a
//! repeated attempt is the same span and a trace shows one line for it, not one for each try.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use keylane_engine::{Event, Header};

/// Names trace and parent span.
const TRACE_PARENT: &str = "traceparent";
/// What vendors of tracing systems add; it only means something beside the first.
const TRACE_STATE: &str = "tracestate";
/// The longest vendor state that is passed on, in bytes. The standard asks for at least 512.
const TRACE_STATE_LIMIT_BYTES: usize = 1024;

/// Adds the event's trace to the headers of a record made from it, unless the handler set its own. What is
/// not a trace by the standard is not passed on.
pub(crate) fn pass_on(handler: &str, event: &Event, headers: &mut Vec<Header>) {
    if headers.iter().any(|header| header.name == TRACE_PARENT) {
        return;
    }
    let Some(parent) = event.header(TRACE_PARENT).and_then(|value| child(value, span_id(handler, event)))
    else {
        return;
    };
    headers.retain(|header| header.name != TRACE_STATE);
    headers.push(Header { name: TRACE_PARENT.to_owned(), value: Some(parent.into()) });
    let state = event.header(TRACE_STATE).filter(|state| state.len() <= TRACE_STATE_LIMIT_BYTES);
    if let Some(state) = state {
        headers.push(Header { name: TRACE_STATE.to_owned(), value: Some(state.clone()) });
    }
}

/// The id of the span in which this handler handles this event. Never zero: that means "none".
fn span_id(handler: &str, event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (handler, &event.source, event.offset).hash(&mut hasher);
    hasher.finish().max(1)
}

/// The same trace with another parent; none if the value is not a trace parent.
fn child(value: &Bytes, span: u64) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let mut fields = text.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let known = version != "ff" && (version != "00" || fields.next().is_none());
    let well_formed =
        known && is_hex(version, 2) && is_hex(flags, 2) && is_id(trace, 32) && is_id(parent, 16);
    // A later version is answered with the one that is understood, as the standard says.
    well_formed.then(|| format!("00-{trace}-{span:016x}-{flags}"))
}

fn is_id(text: &str, length: usize) -> bool {
    is_hex(text, length) && text.bytes().any(|digit| digit != b'0')
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use keylane_engine::TopicPartition;
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn event(offset: i64, headers: &[(&str, &[u8])]) -> Event {
        let header = |(name, value): &(&str, &[u8])| Header {
            name: (*name).to_owned(),
            value: Some(Bytes::copy_from_slice(value)),
        };
        Event {
            source: TopicPartition { topic: "tasks".into(), partition: 7 },
            offset,
            timestamp: None,
            key: None,
            value: None,
            headers: headers.iter().map(header).collect(),
        }
    }

    fn passed_on(event: &Event, mut headers: Vec<Header>) -> Vec<(String, String)> {
        pass_on("accounting", event, &mut headers);
        let text = |header: Header| String::from_utf8(header.value.unwrap_or_default().to_vec()).unwrap();
        headers.into_iter().map(|header| (header.name.clone(), text(header))).collect()
    }

    #[test]
    fn the_trace_goes_on_below_a_span_of_the_event() {
        let traced = event(42, &[("traceparent", PARENT.as_bytes()), ("tracestate", b"congo=t61")]);
        let headers = passed_on(&traced, Vec::new());
        let parent: Vec<&str> = headers[0].1.split('-').collect();
        assert_eq!((parent[0], parent[1], parent[3]), ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01"));
        assert_ne!(parent[2], "00f067aa0ba902b7");
        assert_eq!(headers[1], ("tracestate".to_owned(), "congo=t61".to_owned()));
        assert_eq!(headers, passed_on(&traced, Vec::new()), "a repeated attempt is the same span");
        let next = event(43, &[("traceparent", PARENT.as_bytes())]);
        assert_ne!(headers[0], passed_on(&next, Vec::new())[0], "another event is another span");
    }

    #[test]
    fn a_handlers_own_trace_stands() {
        let own = vec![Header { name: "traceparent".to_owned(), value: Some(Bytes::from_static(b"own")) }];
        let traced = event(42, &[("traceparent", PARENT.as_bytes()), ("tracestate", b"congo=t61")]);
        assert_eq!(passed_on(&traced, own), [("traceparent".to_owned(), "own".to_owned())]);
    }

    #[test]
    fn what_is_no_trace_is_not_passed_on() {
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        let upper = PARENT.to_uppercase();
        let longer = format!("{PARENT}-more");
        for wrong in ["", "00-ab-cd-01", zeros, &upper, &longer, &PARENT.replacen("00", "ff", 1)] {
            let traced = event(1, &[("traceparent", wrong.as_bytes()), ("tracestate", b"congo=t61")]);
            assert_eq!(passed_on(&traced, Vec::new()), [], "{wrong}");
        }
    }

    #[test]
    fn a_later_version_is_understood_as_far_as_it_goes() {
        let later = format!("{}-more", PARENT.replacen("00", "01", 1));
        let headers = passed_on(&event(1, &[("traceparent", later.as_bytes())]), Vec::new());
        assert!(headers[0].1.starts_with("00-4bf92f35"), "{headers:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let parent = child(&Bytes::from(value), 7);
            prop_assert!(parent.is_none_or(|parent| parent.len() == PARENT.len()));
        }

        #[test]
        fn near_misses_are_read_without_harm(value in "[0-9a-fg]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.*)?") {
            let parent = child(&Bytes::from(value), 7);
            prop_assert!(parent.is_none_or(|parent| parent.len() == PARENT.len()));
        }
    }
}
