//! Joins letters to the world: reads the event, keeps the mail, hands it to the host.

use keylane_sdk::{Failure, Record, mail};

use crate::letter::{self, PayoutMade};
use crate::sql::SqlMails;

keylane_sdk::events! {
    /// What email handles.
    #[derive(Debug)]
    enum Event {
        "payout.made" => PayoutMade(PayoutMade),
    }
}

keylane_sdk::handler!(handle);

fn handle(event: Event, record: &Record) -> Result<(), Failure> {
    let Event::PayoutMade(payout) = event;
    let letter = letter::to_send(&SqlMails::open()?, &payout, record.identity())?;
    mail::send(&mail::Message {
        id: Some(letter.identity),
        to: letter.recipient,
        subject: letter.subject,
        body: letter.body,
    })?;
    Ok(())
}
