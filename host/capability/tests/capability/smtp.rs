//! What becomes of a mail, by what its server says and by what it does not say.

use std::time::{Duration, Instant};

use keylane_capability::{Mailer, SmtpConfig, SmtpSecurity};
use keylane_effects::{Handed, Letter, MailError, MailSender as _};

use crate::smtp_server::{Answers, CONTENT, GREETING, SILENCE, SmtpServer};

/// How long a mail may take here. No test waits for its end.
const TIMEOUT: Duration = Duration::from_secs(20);
/// An answer that comes within this was not waited for.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A server that knows a way to log in.
const EHLO_WITH_AUTH: (&str, &str) = ("EHLO", "250-test\r\n250 AUTH PLAIN LOGIN");

fn config(port: u16, security: SmtpSecurity) -> SmtpConfig {
    let credentials = Some(("user".to_owned(), "hunter2".to_owned()));
    SmtpConfig { host: "127.0.0.1".to_owned(), port, security, credentials, timeout: TIMEOUT }
}

fn without_login(port: u16) -> SmtpConfig {
    SmtpConfig { credentials: None, ..config(port, SmtpSecurity::None) }
}

fn letter(to: &str) -> Letter {
    Letter {
        message_id: "1@x".to_owned(),
        from: "a@example.org".to_owned(),
        to: vec![to.to_owned()],
        message: b"Message-ID: <1@x>\r\nSubject: x\r\n\r\n.dotted\r\n".to_vec(),
    }
}

async fn send(config: &SmtpConfig, letter: Letter) -> Result<Handed, MailError> {
    Mailer::smtp(config).unwrap().send(letter, &|| true).await
}

/// Sends a mail to a server that gives these answers, and takes the error.
async fn refused(answers: Answers) -> MailError {
    let server = SmtpServer::start(answers).await;
    send(&without_login(server.port), letter("b@example.org")).await.unwrap_err()
}

#[tokio::test]
async fn a_server_takes_a_mail() {
    let server = SmtpServer::start(&[]).await;
    assert_eq!(send(&without_login(server.port), letter("b@example.org")).await, Ok(Handed::Taken));
    assert_eq!(server.mails(), ["Message-ID: <1@x>\nSubject: x\n\n..dotted\n\n"]);
    for line in ["EHLO [127.0.0.1]", "MAIL FROM:<a@example.org>", "RCPT TO:<b@example.org>", "QUIT"] {
        server.has_heard(line).await;
    }
}

#[tokio::test]
async fn a_server_that_wants_a_login_gets_it() {
    let server = SmtpServer::start(&[EHLO_WITH_AUTH, ("AUTH", "235 welcome")]).await;
    let sent = send(&config(server.port, SmtpSecurity::None), letter("b@example.org")).await;
    assert_eq!(sent, Ok(Handed::Taken));
    server.has_heard("AUTH PLAIN AHVzZXIAaHVudGVyMg==").await;
}

/// The server has the mail: whatever comes after its yes must not have it sent once more.
#[tokio::test]
async fn a_mail_is_taken_although_nobody_answers_the_goodbye() {
    let server = SmtpServer::start(&[("QUIT", SILENCE)]).await;
    let begun = Instant::now();
    assert_eq!(send(&without_login(server.port), letter("b@example.org")).await, Ok(Handed::Taken));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    server.has_heard("QUIT").await;
    assert_eq!(server.mails().len(), 1);
}

/// A refusal that was lost would have the mail come again as if nobody had answered.
#[tokio::test]
async fn a_mail_is_refused_although_nobody_answers_the_goodbye() {
    let begun = Instant::now();
    let error = refused(&[("RCPT", "550 nobody"), ("QUIT", SILENCE)]).await;
    assert!(error.is_final && error.reason.contains("nobody"), "{error}");
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_server_that_refuses_tells_whether_it_would_say_the_same_again() {
    for (answers, is_final, is_its_own) in [
        (&[(CONTENT, "554 never")] as Answers, true, true),
        (&[(CONTENT, "451 later")], false, false),
        (&[("DATA", "554 never")], true, true),
        (&[("RCPT", "450 later")], false, true),
        (&[("RCPT", "421 nobody now")], false, false),
        (&[("RCPT", "550 never")], true, true),
        (&[("MAIL", "452 nobody now")], false, false),
        (&[("MAIL", "550 never")], true, true),
        (&[("MAIL", "530 log in first")], false, false),
        (&[("MAIL", "538 not in the clear")], false, false),
        (&[("RCPT", "535 log in again")], false, false),
        (&[("DATA", "534 log in otherwise")], false, false),
    ] {
        let error = refused(answers).await;
        assert_eq!((error.is_final, error.is_its_own), (is_final, is_its_own), "{error}");
        assert!(error.reason.starts_with("127.0.0.1:"), "{error}");
    }
}

/// Its mails are not at fault: each would be charged, and the relay would not rest.
#[tokio::test]
async fn a_server_that_wants_none_of_us_has_refused_no_mail() {
    for answers in [
        &[(GREETING, "554 not for you")] as Answers,
        &[("EHLO", "550 not for you")],
        &[EHLO_WITH_AUTH, ("AUTH", "535 not for you")],
    ] {
        let server = SmtpServer::start(answers).await;
        let error =
            send(&config(server.port, SmtpSecurity::None), letter("b@example.org")).await.unwrap_err();
        assert!(!error.is_final && !error.is_its_own && error.reason.contains("not for you"), "{error}");
        assert_eq!(server.mails().len(), 0);
    }
}

/// Neither the mail nor the password goes over a line that was to be protected and is not.
#[tokio::test]
async fn nothing_is_said_where_tls_does_not_come_about() {
    for (security, answers, said) in [
        (SmtpSecurity::StartTls, &[EHLO_WITH_AUTH] as Answers, "STARTTLS is not supported"),
        (SmtpSecurity::StartTls, &[("EHLO", "250-test\r\n250 STARTTLS"), ("STARTTLS", "554 no")], "554"),
        (SmtpSecurity::Tls, &[], "onnection error"),
    ] {
        let server = SmtpServer::start(answers).await;
        let error = send(&config(server.port, security), letter("b@example.org")).await.unwrap_err();
        assert!(!error.is_final && error.reason.contains(said), "{error}");
        assert_eq!(server.mails().len(), 0);
    }
}

/// No mail to such an address will ever be taken there, and nobody but us can say so.
#[tokio::test]
async fn a_mail_that_the_server_has_no_words_for_is_refused() {
    let server = SmtpServer::start(&[]).await;
    let error = send(&without_login(server.port), letter("bär@example.org")).await.unwrap_err();
    assert!(error.is_final && error.reason.contains("SMTPUTF8"), "{error}");
    let eight_bit = Letter { message: "Grüße".as_bytes().to_vec(), ..letter("b@example.org") };
    let error = send(&without_login(server.port), eight_bit.clone()).await.unwrap_err();
    assert!(error.is_final && error.reason.contains("8BITMIME"), "{error}");
    let knows = SmtpServer::start(&[("EHLO", "250-test\r\n250-SMTPUTF8\r\n250 8BITMIME")]).await;
    let both = Letter { to: vec!["bär@example.org".to_owned()], ..eight_bit };
    assert_eq!(send(&without_login(knows.port), both).await, Ok(Handed::Taken));
    knows.has_heard("MAIL FROM:<a@example.org> SMTPUTF8 BODY=8BITMIME").await;
}

#[tokio::test]
async fn a_server_that_is_away_may_come_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = send(&without_login(port), letter("b@example.org")).await.unwrap_err();
    assert!(!error.is_final, "{error}");
}

#[tokio::test]
async fn a_letter_to_nobody_never_leaves() {
    let server = SmtpServer::start(&[]).await;
    let error = send(&without_login(server.port), letter("nobody")).await.unwrap_err();
    assert!(error.is_final && error.reason.contains("nobody"), "{error}");
}

#[test]
fn a_password_is_never_printed() {
    let printed = format!("{:?}", config(465, SmtpSecurity::Tls));
    assert!(printed.contains("user") && !printed.contains("hunter2"), "{printed}");
}
