//! Mails: held, checked, and sent to a folder or a server.

use std::sync::Arc;
use std::time::Duration;

use keylane_capability::bindings::keylane::handler::mail::{Error, Host, Message};
use keylane_capability::{EffectsError, GuestState, Mailer, SmtpConfig, SmtpSecurity};

use crate::smtp_server::SmtpServer;
use crate::support::{Surroundings, event, finish};

fn message(id: Option<&str>, to: &str) -> Message {
    Message {
        id: id.map(str::to_owned),
        to: to.to_owned(),
        subject: "Your payout".to_owned(),
        body: "You get 25.\n".to_owned(),
    }
}

async fn send(state: &mut GuestState, message: Message) -> Result<(), Error> {
    Host::send(state, message).await.unwrap()
}

#[tokio::test]
async fn a_mail_becomes_one_file_however_often_it_is_sent() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    for _ in 0..2 {
        state.begin(&event(9));
        send(&mut state, message(Some("payout-ann-31"), "ann@example.org")).await.unwrap();
        send(&mut state, message(None, "bob@example.org")).await.unwrap();
        finish(&mut state).await.unwrap();
    }
    assert_eq!(surroundings.mails(), ["accounting.payout-ann-31.eml", "accounting.tasks.7.9.1.eml"]);
    let path = surroundings.dir.path().join("mails/accounting.payout-ann-31.eml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("Message-ID: <accounting.payout-ann-31@exchange.example>\r\n"), "{text}");
    assert!(text.contains("Subject: Your payout\r\n") && text.contains("You get 25."), "{text}");
}

#[tokio::test]
async fn what_is_taken_back_is_never_sent() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    send(&mut state, message(None, "ann@example.org")).await.unwrap();
    state.rollback().await;
    state.begin(&event(2));
    finish(&mut state).await.unwrap();
    assert!(surroundings.mails().is_empty());
}

#[tokio::test]
async fn addresses_and_sizes_are_checked_when_the_guest_calls() {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    surroundings.limits.mail_bytes = 30;
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(1));
    assert!(matches!(send(&mut state, message(None, "ann")).await, Err(Error::Refused(_))));
    let large = Message { body: "x".repeat(20), ..message(None, "ann@example.org") };
    let said = "the mail has 31 bytes, 30 are allowed".to_owned();
    assert_eq!(send(&mut state, large).await, Err(Error::Limit(said)));
    for _ in 0..2 {
        send(&mut state, message(None, "ann@example.org")).await.unwrap();
    }
    let said = "one event may send 2 mails (mails-max)".to_owned();
    assert_eq!(send(&mut state, message(None, "ann@example.org")).await, Err(Error::Limit(said)));
}

/// Sends one mail through a server at this port.
async fn send_by_smtp(port: u16) -> Result<(), EffectsError> {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    let config = SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port,
        security: SmtpSecurity::None,
        credentials: None,
        timeout: Duration::from_secs(20),
    };
    surroundings.mailer = Some(Arc::new(Mailer::smtp(&config).unwrap()));
    let mut state = surroundings.prepared().await.state();
    state.begin(&event(9));
    send(&mut state, message(None, "ann@example.org")).await.unwrap();
    finish(&mut state).await
}

#[tokio::test]
async fn a_server_takes_a_mail() {
    let server = SmtpServer::start("250 taken").await;
    send_by_smtp(server.port).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].contains("Message-ID: <accounting.tasks.7.9.0@exchange.example>"), "{}", mails[0]);
    assert!(mails[0].contains("To: ann@example.org"), "{}", mails[0]);
}

#[tokio::test]
async fn a_server_that_refuses_fails_the_event_and_tells_whether_to_try_again() {
    for (answer, can_retry) in [("554 never", false), ("451 later", true)] {
        let server = SmtpServer::start(answer).await;
        let error = send_by_smtp(server.port).await.unwrap_err();
        assert_eq!(error.can_retry(), can_retry, "{error}");
        let begins = "the mail <accounting.tasks.7.9.0@exchange.example> was not accepted by 127.0.0.1:";
        assert!(error.to_string().starts_with(begins), "{error}");
        assert_eq!(server.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_server_that_is_away_may_come_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = send_by_smtp(port).await.unwrap_err();
    assert!(error.can_retry(), "{error}");
}

#[test]
fn a_password_is_never_printed() {
    let config = SmtpConfig {
        host: "mail.example".to_owned(),
        port: 465,
        security: SmtpSecurity::Tls,
        credentials: Some(("user".to_owned(), "hunter2".to_owned())),
        timeout: Duration::from_secs(1),
    };
    let printed = format!("{config:?}");
    assert!(printed.contains("user") && !printed.contains("hunter2"), "{printed}");
}
