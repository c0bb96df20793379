//! What a mail says, and to whom.

use keylane_sdk::mail::Message;
use serde::Deserialize;

/// Where a worker's mail goes if the event carries no address: `<worker>@` this.
pub const WORKERS_DOMAIN: &str = "workers.example";

/// The body of `payout.made`, as far as a mail needs it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PayoutMade {
    /// Who was paid.
    pub worker: String,
    /// For which day, `YYYY-MM-DD`.
    pub day: String,
    /// How much, in whole units.
    pub amount: u64,
    /// Where the worker's mail goes, if the publisher knows.
    #[serde(default)]
    pub address: Option<String>,
}

/// Writes the mail of a payout. Its Message-ID is the host's: it names the event that announced the payout.
#[must_use]
pub fn write(payout: PayoutMade) -> Message {
    let PayoutMade { worker, day, amount, address } = payout;
    let units = if amount == 1 { "unit" } else { "units" };
    Message {
        id: None,
        subject: format!("Your payout for {day}: {amount} {units}"),
        body: format!(
            "Hello {worker},\n\n\
             the books of {day} are closed. Your account held {amount} {units},\n\
             which are on their way to you now. Your account is at 0.\n\n\
             The task exchange\n"
        ),
        to: address.unwrap_or_else(|| format!("{worker}@{WORKERS_DOMAIN}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payout(amount: u64) -> PayoutMade {
        PayoutMade { worker: "w-1".into(), day: "2026-11-21".into(), amount, address: None }
    }

    #[test]
    fn a_mail_names_worker_day_and_amount() {
        let mail = write(payout(57));
        assert_eq!(mail.to, "w-1@workers.example");
        assert_eq!(mail.subject, "Your payout for 2026-11-21: 57 units");
        assert!(mail.body.contains("Hello w-1,") && mail.body.contains("57 units"), "{}", mail.body);
        assert_eq!(write(payout(1)).subject, "Your payout for 2026-11-21: 1 unit");
    }

    #[test]
    fn an_address_in_the_event_is_used() {
        let body = r#"{"worker":"w-1","day":"2026-11-21","amount":3,"balance":3,"address":"w@home.example"}"#;
        assert_eq!(write(serde_json::from_str(body).unwrap()).to, "w@home.example");
    }

    #[test]
    fn broken_bodies_are_refused() {
        let cases = [
            (r#"{"worker":"w-1","day":"2026-11-21","amount":-3}"#, "invalid value: integer `-3`"),
            (r#"{"worker":"w-1","amount":3}"#, "missing field `day` at line 1 column 27"),
            ("", "EOF while parsing a value at line 1 column 0"),
        ];
        for (body, wanted) in cases {
            let error = serde_json::from_str::<PayoutMade>(body).unwrap_err().to_string();
            assert!(error.contains(wanted), "wanted {wanted:?} in {error:?}");
        }
    }
}
