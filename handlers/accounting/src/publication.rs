//! What accounting publishes, as `handlers/events/README.md` writes it down: each fact once, in the
//! transaction that makes it true.

use serde::Serialize;

use crate::events::{PayoutDue, PayoutPage};
use crate::ledger::{Entry, Kind, Posting};
use crate::names::{Day, Id};

/// Who publishes: the `ce_source` of every event of this handler.
pub const SOURCE: &str = "accounting";
/// Where entries go.
pub const ACCOUNT_ENTRIES: &str = "account-entries";
/// Where accounting tells itself what to do next.
pub const ACCOUNTING_COMMANDS: &str = "accounting-commands";
/// Where payouts go.
pub const PAYOUTS: &str = "payouts";

/// An event to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The topic.
    pub topic: &'static str,
    /// The key: the id of the entity that the topic is about.
    pub key: String,
    /// The type.
    pub event_type: &'static str,
    /// What names this fact among all of [`SOURCE`], made from its natural key.
    pub id: String,
    /// The body.
    pub body: Body,
}

/// The bodies of what is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// Of `account.entry.posted`.
    Entry(EntryPosted),
    /// Of `payout.page`.
    Page(PayoutPage),
    /// Of `payout.due`.
    Due(PayoutDue),
    /// Of `payout.made`.
    Made(PayoutMade),
}

/// The body of `account.entry.posted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EntryPosted {
    /// The entry's natural key.
    pub entry: String,
    /// `fee`, `reward` or `payout`.
    pub kind: Kind,
    /// Whose account moved.
    pub worker: Id,
    /// For which task; null for a payout.
    pub task: Option<Id>,
    /// The day it counts for.
    pub day: Day,
    /// What the worker's account gained, in whole units.
    pub amount: i64,
    /// Every account that moved; the amounts sum to zero.
    pub postings: [Posting; 2],
}

/// The body of `payout.made`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PayoutMade {
    /// Who was paid.
    pub worker: Id,
    /// For which day.
    pub day: Day,
    /// How much, in whole units; always positive.
    pub amount: i64,
    /// The sum of the worker's postings at the decision, in whole units.
    pub balance: i64,
    /// The entry that moved the money.
    pub entry: String,
}

impl Publication {
    /// An entry was posted.
    #[must_use]
    pub fn posted(entry: Entry) -> Publication {
        let postings = entry.postings();
        Publication {
            topic: ACCOUNT_ENTRIES,
            key: entry.worker.to_string(),
            event_type: "account.entry.posted",
            id: entry.id.clone(),
            body: Body::Entry(EntryPosted {
                entry: entry.id,
                kind: entry.kind,
                worker: entry.worker,
                task: entry.task,
                day: entry.day,
                amount: entry.amount,
                postings,
            }),
        }
    }

    /// The next page of workers is to be paid.
    #[must_use]
    pub fn page(day: Day, after: Option<Id>) -> Publication {
        Publication {
            topic: ACCOUNTING_COMMANDS,
            key: day.to_string(),
            event_type: "payout.page",
            id: format!("page/{day}/{}", after.as_ref().map_or("", Id::as_str)),
            body: Body::Page(PayoutPage { day, after }),
        }
    }

    /// A worker is to be paid.
    #[must_use]
    pub fn due(day: Day, worker: Id) -> Publication {
        Publication {
            topic: ACCOUNTING_COMMANDS,
            key: worker.to_string(),
            event_type: "payout.due",
            id: format!("due/{day}/{worker}"),
            body: Body::Due(PayoutDue { day, worker }),
        }
    }

    /// A payout is announced by its entry and by itself.
    #[must_use]
    pub fn paid(payout: Entry) -> [Publication; 2] {
        let held = -payout.amount;
        let made = Publication {
            topic: PAYOUTS,
            key: payout.worker.to_string(),
            event_type: "payout.made",
            id: format!("made/{}/{}", payout.day, payout.worker),
            body: Body::Made(PayoutMade {
                worker: payout.worker.clone(),
                day: payout.day.clone(),
                amount: held,
                balance: held,
                entry: payout.id.clone(),
            }),
        };
        [Publication::posted(payout), made]
    }
}
