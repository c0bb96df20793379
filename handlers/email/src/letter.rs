//! What a mail says, to whom, and which one is sent on a repeat.

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

/// A mail, as it is kept and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Who was paid.
    pub worker: String,
    /// For which day.
    pub day: String,
    /// What the Message-ID is made from.
    pub identity: String,
    /// The address.
    pub recipient: String,
    /// The subject.
    pub subject: String,
    /// Plain text.
    pub body: String,
}

impl Letter {
    /// Writes the mail of a payout. The identity is that of the event which announced it.
    #[must_use]
    pub fn write(payout: &PayoutMade, identity: String) -> Letter {
        let PayoutMade { worker, day, amount, address } = payout;
        let units = if *amount == 1 { "unit" } else { "units" };
        Letter {
            worker: worker.clone(),
            day: day.clone(),
            identity,
            recipient: address.clone().unwrap_or_else(|| format!("{worker}@{WORKERS_DOMAIN}")),
            subject: format!("Your payout for {day}: {amount} {units}"),
            body: format!(
                "Hello {worker},\n\n\
                 the books of {day} are closed. Your account held {amount} {units},\n\
                 which are on their way to you now. Your account is at 0.\n\n\
                 The task exchange\n"
            ),
        }
    }
}

/// The mails that were written.
pub trait Mails {
    /// Why they could not be reached.
    type Error;

    /// Keeps a letter, unless there is one for its worker and day; answers the one that is kept then.
    ///
    /// # Errors
    /// That the mails could not be reached.
    fn keep(&self, letter: Letter) -> Result<Letter, Self::Error>;
}

/// The mail to send for this payout: the one that is kept, or a new one, kept from now on.
///
/// # Errors
/// What the mails answered.
pub fn to_send<M: Mails>(mails: &M, payout: &PayoutMade, identity: String) -> Result<Letter, M::Error> {
    mails.keep(Letter::write(payout, identity))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;

    #[derive(Default)]
    struct MemoryMails(RefCell<BTreeMap<(String, String), Letter>>);

    impl Mails for MemoryMails {
        type Error = Infallible;

        fn keep(&self, letter: Letter) -> Result<Letter, Infallible> {
            let key = (letter.worker.clone(), letter.day.clone());
            Ok(self.0.borrow_mut().entry(key).or_insert(letter).clone())
        }
    }

    fn payout(day: &str, amount: u64) -> PayoutMade {
        PayoutMade { worker: "w-1".into(), day: day.into(), amount, address: None }
    }

    #[test]
    fn a_mail_names_worker_day_and_amount() {
        let letter = Letter::write(&payout("2026-11-21", 57), "accounting#made/1".into());
        assert_eq!(letter.recipient, "w-1@workers.example");
        assert_eq!(letter.subject, "Your payout for 2026-11-21: 57 units");
        assert!(letter.body.contains("Hello w-1,") && letter.body.contains("57 units"), "{}", letter.body);
        assert_eq!(
            Letter::write(&payout("2026-11-21", 1), String::new()).subject.matches("1 unit").count(),
            1
        );
    }

    #[test]
    fn an_address_in_the_event_is_used() {
        let body = r#"{"worker":"w-1","day":"2026-11-21","amount":3,"balance":3,"address":"w@home.example"}"#;
        let payout: PayoutMade = serde_json::from_str(body).unwrap();
        assert_eq!(Letter::write(&payout, String::new()).recipient, "w@home.example");
    }

    #[test]
    fn a_repeat_is_the_same_mail() {
        let mails = MemoryMails::default();
        let first = to_send(&mails, &payout("2026-11-21", 57), "payouts/0/7".into()).unwrap();
        let repeat = to_send(&mails, &payout("2026-11-21", 58), "payouts/0/8".into()).unwrap();
        assert_eq!(repeat, first);
        let next_day = to_send(&mails, &payout("2026-11-22", 57), "payouts/0/9".into()).unwrap();
        assert_ne!(next_day.identity, first.identity);
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
