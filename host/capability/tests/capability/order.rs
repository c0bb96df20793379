//! The end of an event in a run: its records and mails are rows, in order, and nothing leaves by itself.

use keylane_capability::GuestState;
use keylane_capability::bindings::keylane::handler::{mail, producer};
use keylane_effects::{OutboxKind, letter_of, record_of};

use crate::support::{Surroundings, TOPIC_ID, at_event, commit, event, execute, kept};

const TABLE: &str = "CREATE TABLE t (a UNIQUE);";

async fn send(state: &mut GuestState, value: &str) {
    let value = Some(value.as_bytes().to_vec());
    let record = producer::Message { topic: "payouts".to_owned(), key: None, value, headers: Vec::new() };
    producer::Host::send(state, record).await.unwrap().unwrap();
}

async fn mail(state: &mut GuestState) {
    let mail = mail::Message {
        id: None,
        to: "Ann <ann@example.org>".to_owned(),
        subject: "s".to_owned(),
        body: "b".to_owned(),
    };
    mail::Host::send(state, mail).await.unwrap().unwrap();
}

#[tokio::test]
async fn outputs_are_numbered_rows_and_leave_only_from_the_database() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 9).await;
    mail(&mut state).await;
    send(&mut state, "one").await;
    execute(&mut state, "INSERT INTO t VALUES ('x')", &[]).await.unwrap();
    send(&mut state, "two").await;
    let rows = state.outbox().unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.event_offset, row.ordinal, row.kind)).collect();
    let record = OutboxKind::Record;
    assert_eq!(told, [(9, 0, record), (9, 1, record), (9, 2, OutboxKind::Mail)]);
    let record = record_of(&rows[1]).unwrap();
    assert_eq!((record.topic.as_str(), record.value.as_deref()), ("payouts", Some(&b"two"[..])));
    let origin = record.headers.iter().find(|header| header.name == "keylane-origin").unwrap();
    assert_eq!(origin.value.as_deref(), Some(&b"tasks/7/9"[..]));
    let letter = letter_of(&rows[2]).unwrap();
    assert_eq!(letter.message_id, "accounting.tasks.BwcHBwcHBwcHBwcHBwcHBw.7.9.0@exchange.example");
    assert_eq!(
        (letter.from.as_str(), &letter.to[..]),
        ("payouts@exchange.example", &["ann@example.org".to_owned()][..])
    );
    commit(&run, 9, &rows).await.unwrap();
    assert_eq!(surroundings.read("SELECT a FROM t").await, [[kept("x")]]);
    assert!(surroundings.published.records().is_empty() && surroundings.mails().is_empty());
}

#[tokio::test]
async fn what_an_event_gave_out_is_not_the_next_ones() {
    let surroundings = Surroundings::new(TABLE);
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 1).await;
    send(&mut state, "forgotten").await;
    mail(&mut state).await;
    state.forget();
    state.begin(&event(2), TOPIC_ID, Some(&run));
    assert_eq!(state.outbox().unwrap(), []);
    send(&mut state, "dropped").await;
    mail(&mut state).await;
    state.begin(&event(3), TOPIC_ID, Some(&run));
    send(&mut state, "kept").await;
    assert_eq!(state.outbox().unwrap().len(), 1);
    assert_eq!(state.outbox().unwrap(), [], "once");
}

#[tokio::test]
async fn a_doomed_event_gives_out_nothing() {
    let surroundings = Surroundings::new(TABLE);
    let (mut state, run) = at_event(&surroundings.prepared().await, 1).await;
    send(&mut state, "lost").await;
    execute(&mut state, "INSERT INTO nowhere VALUES (1)", &[]).await.unwrap_err();
    assert!(state.outbox().is_err());
    assert_eq!(state.outbox().unwrap(), []);
    drop(run);
}
