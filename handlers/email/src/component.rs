//! Joins letters to the world: reads the event, hands the mail to the host.

use keylane_sdk::{Failure, Record, mail};

use crate::letter::{self, PayoutMade};

keylane_sdk::events! {
    /// What email handles.
    #[derive(Debug)]
    enum Event {
        "payout.made" => PayoutMade(PayoutMade),
    }
}

keylane_sdk::handler!(handle);

fn handle(event: Event, _record: &Record) -> Result<(), Failure> {
    let Event::PayoutMade(payout) = event;
    mail::send(&letter::write(payout))?;
    Ok(())
}
