//! Outbox rows hold every output, byte for byte, and what is not theirs is refused.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn record() -> impl Strategy<Value = OutgoingRecord> {
    let text = ".{0,8}".prop_map(|text| Bytes::from(text.into_bytes()));
    let header = ("\\PC{0,8}|.{0,4}", option::of(prop_oneof![bytes(), text]))
        .prop_map(|(name, value)| Header { name, value });
    ("[a-z.]{1,12}", option::of(bytes()), option::of(bytes()), vec(header, 0..5))
        .prop_map(|(topic, key, value, headers)| OutgoingRecord { topic, key, value, headers })
}

fn letter() -> impl Strategy<Value = Letter> {
    (".{1,12}", ".{1,12}", vec(".{1,12}", 1..4), vec(any::<u8>(), 0..20))
        .prop_map(|(message_id, from, to, message)| Letter { message_id, from, to, message })
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(record in record(), offset in any::<i64>(), ordinal in any::<i32>()) {
        let row = record_row(offset, ordinal, &record);
        prop_assert_eq!((row.event_offset, row.ordinal, row.kind), (offset, ordinal, OutboxKind::Record));
        prop_assert_eq!(record_of(&row), Ok(record));
        prop_assert!(std::str::from_utf8(&row.headers).is_ok() && letter_of(&row).is_err());
    }

    #[test]
    fn a_mail_comes_back_as_it_was(letter in letter(), offset in any::<i64>(), ordinal in any::<i32>()) {
        let row = mail_row(offset, ordinal, &letter);
        prop_assert_eq!(letter_of(&row), Ok(letter));
        prop_assert!(record_of(&row).is_err());
    }

    #[test]
    fn any_headers_are_read_without_harm(headers in vec(any::<u8>(), 0..60)) {
        let mut row = record_row(1, 0, &OutgoingRecord {
            topic: "t".to_owned(), key: None, value: None, headers: Vec::new(),
        });
        row.headers = headers;
        let _ = record_of(&row);
        row.kind = OutboxKind::Mail;
        let _ = letter_of(&row);
    }
}

#[test]
fn the_form_is_fixed() {
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let record = OutgoingRecord {
        topic: "payouts".to_owned(),
        key: Some(Bytes::from_static(b"w1")),
        value: None,
        headers: vec![
            header("ce_type", Some(b"payout.due")),
            header("none", None),
            header("raw", Some(&[255, 0])),
        ],
    };
    let row = record_row(7, 0, &record);
    let expected = r#"[["ce_type","payout.due"],["none",null],["raw",{"base64":"/wA="}]]"#;
    assert_eq!(std::str::from_utf8(&row.headers).unwrap(), expected);
}

#[test]
fn what_another_wrote_is_refused_in_words() {
    let letter = Letter {
        message_id: "1@keylane".to_owned(),
        from: "a@example.org".to_owned(),
        to: vec!["b@example.org".to_owned()],
        message: b"Subject: x".to_vec(),
    };
    for (headers, said) in [
        ("{}", "headers are not as expected"),
        (r#"[["to","b@example.org"]]"#, "names no sender"),
        (r#"[["to",null]]"#, "no text"),
        (r#"[["bcc","b@example.org"]]"#, "unknown part"),
        (r#"[["to",{"base64":"?"}]]"#, "no base64"),
    ] {
        let row = OutboxRow { headers: headers.as_bytes().to_vec(), ..mail_row(3, 1, &letter) };
        let error = letter_of(&row).unwrap_err().to_string();
        assert!(error.contains(said) && error.contains("offset 3"), "{error}");
    }
}
