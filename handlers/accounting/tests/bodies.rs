//! The bodies as they stand on the wire: what is read, what is refused, what is written.
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use accounting::events::{PayoutPage, TaskMoved};
use accounting::ledger::Entry;
use accounting::names::{Day, Id};
use accounting::publication::Publication;

fn written(publication: &Publication) -> String {
    serde_json::to_string(&publication.body).unwrap()
}

#[test]
fn bodies_are_read_with_fields_that_accounting_does_not_know() {
    let body = r#"{"task":"t-1","worker":"w-1","title":"Paint the shed","day":"2026-11-21"}"#;
    let event: TaskMoved = serde_json::from_str(body).unwrap();
    assert_eq!((event.task.as_str(), event.worker.as_str()), ("t-1", "w-1"));
    let first: PayoutPage = serde_json::from_str(r#"{"day":"2026-11-21","after":null}"#).unwrap();
    assert_eq!(first.after, None);
}

#[test]
fn broken_bodies_are_refused_by_name_and_place() {
    let cases = [
        (r#"{"task":"","worker":"w-1","day":"2026-11-21"}"#, "an id must not be empty at line 1 column 10"),
        (r#"{"task":"t-1","worker":"w-1","day":"2026-02-30"}"#, "\"2026-02-30\" is not a day"),
        (r#"{"task":"t-1","day":"2026-11-21"}"#, "missing field `worker` at line 1 column 33"),
        (r#"{"task":7,"worker":"w-1","day":"2026-11-21"}"#, "invalid type: integer `7`"),
        (r#"{"task":"t-1","worker"#, "EOF while parsing"),
    ];
    for (body, wanted) in cases {
        let error = serde_json::from_str::<TaskMoved>(body).unwrap_err().to_string();
        assert!(error.contains(wanted), "wanted {wanted:?} in {error:?}");
    }
}

#[test]
fn what_is_published_stays_as_it_is_to_the_byte() {
    let (task, worker) = (Id::new("t-1").unwrap(), Id::new("w-1").unwrap());
    let day = Day::new("2026-11-21").unwrap();

    let fee = Publication::posted(Entry::fee(&task, &worker, &day, 12));
    assert_eq!((fee.topic, fee.key.as_str(), fee.id.as_str()), ("account-entries", "w-1", "fee/t-1"));
    assert_eq!(
        written(&fee),
        r#"{"entry":"fee/t-1","kind":"fee","worker":"w-1","task":"t-1","day":"2026-11-21","amount":-12,"#
            .to_owned()
            + r#""postings":[{"account":"worker:w-1","amount":-12},{"account":"company","amount":12}]}"#
    );

    let [entry, made] = &Publication::paid(Entry::payout(&worker, &day, 57));
    assert_eq!((entry.topic, entry.id.as_str()), ("account-entries", "payout/2026-11-21/w-1"));
    assert_eq!((made.topic, made.key.as_str(), made.id.as_str()), ("payouts", "w-1", "made/2026-11-21/w-1"));
    assert_eq!(
        written(made),
        r#"{"worker":"w-1","day":"2026-11-21","amount":57,"balance":57,"entry":"payout/2026-11-21/w-1"}"#
    );

    let page = Publication::page(day.clone(), Some(worker.clone()));
    assert_eq!((page.key.as_str(), page.id.as_str()), ("2026-11-21", "page/2026-11-21/w-1"));
    assert_eq!(written(&page), r#"{"day":"2026-11-21","after":"w-1"}"#);
    let due = Publication::due(day, worker);
    assert_eq!(
        (due.topic, due.key.as_str(), due.id.as_str()),
        ("accounting-commands", "w-1", "due/2026-11-21/w-1")
    );
}
