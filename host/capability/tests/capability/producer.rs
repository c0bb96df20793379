//! Produced records of a handler without a database: held, checked, handed over in order with the identity
//! of their event.

use keylane_capability::GuestState;
use keylane_capability::bindings::keylane::handler::producer::{Error, Host, Message};
use keylane_capability::bindings::keylane::handler::types::Header;

use crate::support::{Gate, Surroundings, TOPIC_ID, TRACE_PARENT, event, hand_over};

fn message(value: &str) -> Message {
    Message {
        topic: "payouts".to_owned(),
        key: Some(b"ann".to_vec()),
        value: Some(value.as_bytes().to_vec()),
        headers: vec![Header { name: "ce_type".to_owned(), value: Some(b"payout.made".to_vec()) }],
    }
}

async fn send(state: &mut GuestState, message: Message) -> Result<(), Error> {
    Host::send(state, message).await.unwrap()
}

#[tokio::test]
async fn records_are_held_and_leave_in_order_with_their_origin() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(42), TOPIC_ID, None);
    send(&mut state, message("one")).await.unwrap();
    send(&mut state, message("two")).await.unwrap();
    assert!(surroundings.published.records().is_empty());
    hand_over(&mut state).await.unwrap();
    let records = surroundings.published.records();
    let values: Vec<_> = records.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(values, ["one", "two"]);
    let headers: Vec<_> = records[0]
        .headers
        .iter()
        .map(|header| (header.name.as_str(), header.value.as_deref().unwrap_or_default()))
        .collect();
    let expected: [(&str, &[u8]); 2] = [("ce_type", b"payout.made"), ("keylane-origin", b"tasks/7/42")];
    assert_eq!(headers[..2], expected);
    let (name, trace) = headers[2];
    assert_eq!(
        (name, &trace[..36]),
        ("traceparent", &TRACE_PARENT.as_bytes()[..36]),
        "the same trace goes on"
    );
    assert_ne!(trace, TRACE_PARENT.as_bytes(), "below a span of its own");
    assert_eq!(records[0].key.as_deref(), Some(&b"ann"[..]));
}

#[tokio::test]
async fn a_handler_cannot_forge_the_origin_and_may_set_its_own_trace() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(42), TOPIC_ID, None);
    let header = |name: &str| Header { name: name.to_owned(), value: Some(b"own".to_vec()) };
    let headers = vec![header("keylane-origin"), header("traceparent"), header("a"), header("a")];
    send(&mut state, Message { headers, ..message("one") }).await.unwrap();
    hand_over(&mut state).await.unwrap();
    let records = surroundings.published.records();
    let headers: Vec<_> = records[0].headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(headers, ["traceparent", "a", "a", "keylane-origin"]);
    assert_eq!(records[0].headers[3].value.as_deref(), Some(&b"tasks/7/42"[..]));
}

#[tokio::test]
async fn what_is_taken_back_never_leaves() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1), TOPIC_ID, None);
    send(&mut state, message("rolled back")).await.unwrap();
    state.forget();
    state.begin(&event(2), TOPIC_ID, None);
    send(&mut state, message("forgotten")).await.unwrap();
    state.begin(&event(3), TOPIC_ID, None);
    send(&mut state, message("kept")).await.unwrap();
    hand_over(&mut state).await.unwrap();
    let records = surroundings.published.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].value.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn topics_and_sizes_are_checked_when_the_guest_calls() {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    surroundings.limits.record_bytes = 100;
    surroundings.limits.held_bytes = 150;
    surroundings.limits.headers = 1;
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1), TOPIC_ID, None);
    let other = send(&mut state, Message { topic: "tasks".to_owned(), ..message("x") }).await;
    let said = "the manifest does not grant the topic \"tasks\"; add it to topics under [grants.producer]";
    assert_eq!(other, Err(Error::NotGranted(said.to_owned())));
    let limit = |said: &str| Err(Error::Limit(said.to_owned()));
    let large = send(&mut state, message(&"x".repeat(73))).await;
    assert_eq!(large, limit("the record has 101 bytes, 100 are allowed"));
    send(&mut state, message(&"x".repeat(72))).await.unwrap();
    let full = send(&mut state, message(&"x".repeat(72))).await;
    assert_eq!(full, limit("the records of one event may have 150 bytes"));
    let header = Header { name: "a".to_owned(), value: None };
    let many = Message { headers: vec![header.clone(), header], ..message("x") };
    assert_eq!(send(&mut state, many).await, limit("a record may have 1 headers"));
    // None of that dooms the event: the handler decides.
    hand_over(&mut state).await.unwrap();
    assert_eq!(surroundings.published.records().len(), 1);
}

#[tokio::test]
async fn the_number_of_records_is_granted() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1), TOPIC_ID, None);
    for _ in 0..3 {
        send(&mut state, message("x")).await.unwrap();
    }
    let said = "one event may produce 3 records (records-max)".to_owned();
    assert_eq!(send(&mut state, message("x")).await, Err(Error::Limit(said)));
}

#[tokio::test]
async fn an_event_is_done_only_when_its_records_are_acknowledged() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1), TOPIC_ID, None);
    send(&mut state, message("x")).await.unwrap();
    surroundings.published.set(Gate::Closed);
    let mut delivery = state.commit().await.unwrap();
    assert!(!delivery.is_empty());
    assert!(futures::poll!(&mut delivery).is_pending());
    surroundings.published.set(Gate::Open);
    delivery.await.unwrap();
}

#[tokio::test]
async fn a_record_that_is_not_delivered_fails_the_event() {
    for gate in [Gate::Failing, Gate::Refusing] {
        let surroundings = Surroundings::new("CREATE TABLE t (a);");
        let mut state = surroundings.prepared().await.state();
        state.begin(&event(1), TOPIC_ID, None);
        send(&mut state, message("x")).await.unwrap();
        surroundings.published.set(gate);
        let error = hand_over(&mut state).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the record for topic \"payouts\" was not delivered: the broker said no"
        );
        assert!(matches!(error, keylane_capability::EffectsError::Publish(error) if !error.can_retry));
    }
}
