//! Mails: held, checked, made letters, and sent to a folder or a server in turn.

use std::time::Duration;

use keylane_capability::bindings::keylane::handler::mail::{Error, Host, Message};
use keylane_capability::{GuestState, Mailer, RunSlot, SmtpConfig, SmtpSecurity};
use keylane_effects::{Handed, Letter, MailSender as _, letter_of};
use tokio::sync::watch;

use crate::support::{Surroundings, TOPIC_ID, at_event, event};

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

/// The letters that an event gave out.
fn letters(state: &mut GuestState) -> Vec<Letter> {
    state.outbox().unwrap().iter().map(|row| letter_of(row).unwrap()).collect()
}

#[tokio::test]
async fn a_mail_becomes_one_file_however_often_it_is_sent() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let prepared = surroundings.prepared().await;
    let mailer = surroundings.mailer.clone().unwrap();
    for _ in 0..2 {
        let (mut state, _run) = at_event(&prepared, 9).await;
        send(&mut state, message(Some("payout-ann-31"), "ann@example.org")).await.unwrap();
        send(&mut state, message(None, "bob@example.org")).await.unwrap();
        for letter in letters(&mut state) {
            assert_eq!(mailer.send(letter, &|| true).await, Ok(Handed::Taken));
        }
    }
    assert_eq!(
        surroundings.mails(),
        ["accounting.payout-ann-31.eml", "accounting.tasks.BwcHBwcHBwcHBwcHBwcHBw.7.9.1.eml"]
    );
    let path = surroundings.dir.path().join("mails/accounting.payout-ann-31.eml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("Message-ID: <accounting.payout-ann-31@exchange.example>\r\n"), "{text}");
    assert!(text.contains("Subject: Your payout\r\n") && text.contains("You get 25."), "{text}");
}

/// An operator's replay wants it once more, and after a log was cut another event has the offset.
#[tokio::test]
async fn a_replayed_mail_is_another_unless_the_handler_says_which_it_is() {
    let surroundings = Surroundings::new("CREATE TABLE t (a);");
    let prepared = surroundings.prepared().await;
    let (mut state, run) = at_event(&prepared, 9).await;
    let replayed = RunSlot::new(run.take().unwrap(), 2);
    state.begin(&event(9), TOPIC_ID, Some(&replayed));
    send(&mut state, message(None, "ann@example.org")).await.unwrap();
    send(&mut state, message(Some("payout-ann-31"), "ann@example.org")).await.unwrap();
    let ids: Vec<String> = letters(&mut state).into_iter().map(|letter| letter.message_id).collect();
    let of_offset = "accounting.tasks.BwcHBwcHBwcHBwcHBwcHBw.7.9.0.again-2@exchange.example";
    assert_eq!(ids, [of_offset, "accounting.payout-ann-31@exchange.example"]);
}

/// A letter is read from a table that an operator may have edited.
#[tokio::test]
async fn a_message_id_of_whatever_shape_names_a_file_in_the_folder() {
    let surroundings = Surroundings::new("");
    let letter = Letter {
        message_id: "../../etc/passwd@x".to_owned(),
        from: "a@example.org".to_owned(),
        to: vec!["b@example.org".to_owned()],
        message: b"Subject: x\r\n\r\n".to_vec(),
    };
    surroundings.mailer.clone().unwrap().send(letter, &|| true).await.unwrap();
    assert_eq!(surroundings.mails(), [".._.._etc_passwd.eml"]);
}

/// Two hosts may have one folder, and mails of both are written at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mailers_of_one_folder_lose_no_mail() {
    let dir = tempfile::tempdir().unwrap();
    let mailers = [(); 2].map(|()| Mailer::folder(dir.path()).unwrap());
    let send = async |ordinal: usize| {
        let letter = Letter {
            message_id: format!("{ordinal}@x"),
            from: "a@example.org".to_owned(),
            to: vec!["b@example.org".to_owned()],
            message: ordinal.to_string().into_bytes(),
        };
        mailers[ordinal % 2].send(letter, &|| true).await
    };
    for sent in futures::future::join_all((0..100).map(send)).await {
        assert_eq!(sent, Ok(Handed::Taken));
    }
    for ordinal in 0..100 {
        let text = std::fs::read_to_string(dir.path().join(format!("{ordinal}.eml"))).unwrap();
        assert_eq!(text, ordinal.to_string());
    }
}

#[tokio::test]
async fn addresses_and_sizes_are_checked_when_the_guest_calls() {
    let mut surroundings = Surroundings::new("CREATE TABLE t (a);");
    surroundings.limits.mail_bytes = 30;
    let (mut state, _run) = at_event(&surroundings.prepared().await, 1).await;
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

/// Mails may wait long for their turn: whether one may go is asked when it comes, not before.
#[tokio::test]
async fn a_mail_is_begun_only_if_it_may_when_its_turn_comes() {
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().unwrap().port(),
        security: SmtpSecurity::None,
        credentials: None,
        timeout: Duration::from_secs(600),
    };
    let mailer = std::sync::Arc::new(Mailer::smtp(&config).unwrap());
    assert_eq!(mailer.limit(), Duration::from_secs(600));
    let (asked, free) = (watch::Sender::new(0), watch::Sender::new(true));
    let send = || {
        let (mailer, asked, free) = (mailer.clone(), asked.clone(), free.clone());
        let to = vec!["b@example.org".to_owned()];
        let (message_id, from) = ("1@x".to_owned(), "a@example.org".to_owned());
        let letter = Letter { message_id, from, to, message: b"Subject: x\r\n\r\n".to_vec() };
        tokio::spawn(async move {
            let may_begin = || {
                asked.send_modify(|asked| *asked += 1);
                *free.borrow()
            };
            mailer.send(letter, &may_begin).await
        })
    };
    let under_way: Vec<_> = (0..8).map(|_| send()).collect();
    asked.subscribe().wait_for(|asked| *asked == 8).await.unwrap();
    let last = send();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    free.send_replace(false);
    under_way[0].abort();
    assert_eq!(last.await.unwrap(), Ok(Handed::NotBegun));
    for mail in under_way {
        mail.abort();
    }
}
