//! The end of an event: commit, then records, then mails; each only when the one before has succeeded.

use keylane_capability::GuestState;
use keylane_capability::bindings::keylane::handler::{mail, producer};

use crate::support::{Gate, Surroundings, event, execute, text};

const TABLE: &str = "CREATE TABLE t (a UNIQUE);";

/// One statement, one record, one mail.
async fn everything(state: &mut GuestState) {
    execute(state, "INSERT INTO t VALUES ('x')", &[]).await.unwrap();
    let record =
        producer::Message { topic: "payouts".to_owned(), key: None, value: None, headers: Vec::new() };
    producer::Host::send(state, record).await.unwrap().unwrap();
    let mail = mail::Message {
        id: Some("one".to_owned()),
        to: "ann@example.org".to_owned(),
        subject: "s".to_owned(),
        body: "b".to_owned(),
    };
    mail::Host::send(state, mail).await.unwrap().unwrap();
}

#[tokio::test]
async fn mails_leave_when_records_are_acknowledged_and_both_after_the_commit() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    everything(&mut state).await;
    surroundings.published.set(Gate::Closed);
    assert!(surroundings.published.records().is_empty() && surroundings.mails().is_empty());
    let mut delivery = state.commit().await.unwrap();
    assert_eq!(surroundings.read("SELECT a FROM t").await, [[text("x")]]);
    assert_eq!(surroundings.published.records().len(), 1);
    assert!(futures::poll!(&mut delivery).is_pending());
    assert!(surroundings.mails().is_empty());
    surroundings.published.set(Gate::Open);
    delivery.await.unwrap();
    assert_eq!(surroundings.mails(), ["accounting.one.eml"]);
}

#[tokio::test]
async fn without_an_acknowledgement_no_mail_leaves() {
    for gate in [Gate::Failing, Gate::Refusing] {
        let surroundings = Surroundings::new(TABLE);
        let mut state = surroundings.prepared().await.state();
        state.begin(&event(1));
        everything(&mut state).await;
        surroundings.published.set(gate);
        assert!(crate::support::finish(&mut state).await.is_err());
        // The transaction was committed before: at least once is what is promised.
        assert_eq!(surroundings.read("SELECT a FROM t").await, [[text("x")]]);
        assert!(surroundings.mails().is_empty());
    }
}

#[tokio::test]
async fn without_a_commit_nothing_leaves() {
    let surroundings = Surroundings::new(TABLE);
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    everything(&mut state).await;
    execute(&mut state, "INSERT INTO t VALUES ('x')", &[]).await.unwrap_err();
    assert!(state.commit().await.is_err());
    assert!(state.commit().await.unwrap().is_empty(), "a second commit found something left");
    assert!(surroundings.published.records().is_empty() && surroundings.mails().is_empty());
    assert!(surroundings.read("SELECT a FROM t").await.is_empty());
}
