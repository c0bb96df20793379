//! Joins the book to the world: reads the event, calls the book on the SQL ledger, publishes.

use keylane_sdk::producer::Message;
use keylane_sdk::{Error, Failure, Record, logging};

use crate::book;
use crate::events::{DayClosed, PayoutDue, PayoutPage, TaskMoved};
use crate::publication::{Publication, SOURCE};
use crate::sql::SqlLedger;

keylane_sdk::events! {
    /// What accounting handles.
    #[derive(Debug)]
    enum Event {
        "task.assigned" => Assigned(TaskMoved),
        "task.completed" => Completed(TaskMoved),
        "day.closed" => DayClosed(DayClosed),
        "payout.page" => PayoutPage(PayoutPage),
        "payout.due" => PayoutDue(PayoutDue),
    }
}

keylane_sdk::handler!(handle);

fn handle(event: Event, _record: &Record) -> Result<(), Failure> {
    let publications = match event {
        Event::Assigned(event) => book::assigned(&SqlLedger::open()?, &event)?.into_iter().collect(),
        Event::Completed(event) => book::completed(&SqlLedger::open()?, &event)?.into_iter().collect(),
        Event::DayClosed(event) => {
            logging::info("day.closed", &format!("paying the day {}", event.day));
            vec![book::closed(&event)]
        }
        Event::PayoutPage(event) => book::page(&SqlLedger::open()?, &event)?,
        Event::PayoutDue(event) => book::due(&SqlLedger::open()?, &event)?,
    };
    for publication in publications {
        publish(publication)?;
    }
    Ok(())
}

fn publish(publication: Publication) -> Result<(), Error> {
    Message::to(publication.topic)
        .key(publication.key)
        .event(publication.event_type, SOURCE, &publication.id)
        .json(&publication.body)?
        .send()
}
