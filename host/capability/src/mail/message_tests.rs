//! What becomes of a mail that a guest wants to send, and what is none.

use proptest::prelude::*;

use super::*;

fn build(identity: &str, to: &str, subject: &str) -> Result<Letter, Error> {
    let from = "Payouts <payouts@exchange.example>".parse().unwrap();
    let message =
        Message { id: None, to: to.to_owned(), subject: subject.to_owned(), body: "Grüße".to_owned() };
    letter("email", &from, identity, &message)
}

/// What stands before the `@` of its Message-ID.
fn local_part(mail: &Letter) -> &str {
    mail.message_id.split_once('@').unwrap().0
}

#[test]
fn the_message_id_is_made_from_handler_and_identity() {
    let mail = build("payout/2026-01-31/ann@x..y", "ann@example.org", "Paid").unwrap();
    assert_eq!(mail.message_id, "email.payout=2F2026-01-31=2Fann=40x=2E=2Ey@exchange.example");
    let text = String::from_utf8(mail.message).unwrap();
    assert!(text.contains(&format!("Message-ID: <{}>\r\n", mail.message_id)), "{text}");
    assert!(text.contains("From: Payouts <payouts@exchange.example>"), "{text}");
    assert!(text.contains("To: ann@example.org"), "{text}");
}

#[test]
fn different_identities_stay_different() {
    let texts = ["a.b", "a..b", ".a", "a.", "a=2Eb", "a/b", "a=2Fb", "ä", ""];
    let escaped: std::collections::BTreeSet<_> = texts.iter().map(|text| escape(text)).collect();
    assert_eq!(escaped.len(), texts.len());
    assert_eq!(escape("a.b"), "a.b");
}

#[test]
fn a_long_identity_is_shortened_and_stays_itself() {
    let long = |end: &str| {
        let mail = build(&format!("{}{end}", "w".repeat(900)), "ann@example.org", "Paid").unwrap();
        local_part(&mail).to_owned()
    };
    assert!(long("a").len() <= ID_BYTES_MAX && long("a").starts_with("email.www"), "{}", long("a"));
    assert_eq!(long("a"), long("a"));
    assert_ne!(long("a"), long("b"));
}

#[test]
fn what_is_no_address_or_would_break_a_header_is_refused() {
    for (to, subject) in [
        ("nobody", "s"),
        ("", "s"),
        ("a@b@c", "s"),
        ("ann@example.org\r\nBcc: eve@example.org", "s"),
        ("ann@example.org", "s\r\nBcc: eve@example.org"),
    ] {
        assert!(matches!(build("1", to, subject), Err(Error::Refused(_))), "{to:?} {subject:?}");
    }
}

/// The headers that a mail of ours has.
const HEADERS: [&str; 7] =
    ["From", "To", "Subject", "Message-ID", "Content-Type", "Content-Transfer-Encoding", "Date"];

/// The names of all headers of a mail; a line that begins with a blank goes on with the one before.
fn header_names(mail: &Letter) -> Vec<String> {
    let text = String::from_utf8(mail.message.clone()).unwrap();
    let (head, _body) = text.split_once("\r\n\r\n").unwrap();
    let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split_once(": ").unwrap_or((line, "")).0.to_owned()).collect()
}

fn addresses() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~\r\n]{0,20}@[ -~\r\n]{0,20}",
        "(\\PC{0,12} )?<?\\PC{1,8}@[a-z0-9.-]{1,12}>?",
        "[a-z]{1,8}@[a-z]{1,8}\\.[a-z]{2,3}",
    ]
}

proptest! {
    #[test]
    fn no_text_becomes_a_header(
        to in addresses(), subject: String, identity: String, id_of_handler in "[a-z0-9-]{1,63}", body: String,
    ) {
        let from = "Payouts <payouts@exchange.example>".parse().unwrap();
        let message = Message { id: None, to: to.clone(), subject, body };
        let Ok(built) = letter(&id_of_handler, &from, &identity, &message) else { return Ok(()) };
        let id = local_part(&built);
        prop_assert!(id.len() <= ID_BYTES_MAX && id.is_ascii(), "{}", id);
        prop_assert!(!id.contains(['/', '\\', '<', '>', ' ']), "{}", id);
        let names = header_names(&built);
        for name in &names {
            prop_assert!(HEADERS.contains(&name.as_str()), "{:?} of {:?}", names, to);
            prop_assert_eq!(names.iter().filter(|other| *other == name).count(), 1, "{:?}", names);
        }
        prop_assert_eq!(built.to.len(), 1);
    }
}
