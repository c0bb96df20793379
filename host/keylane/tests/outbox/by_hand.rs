//! What a relay does to an outbox, step by step, so that a test decides what was refused and for how long.

use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{
    Advance, Applicant, Database, Leased, ListedRow, MailEnded, Outbox, Parked, Refused, Standing, StoredRow,
    UnderWay,
};
use keylane_engine::Epoch;

use super::{LIMIT, NO_MAILBOX, TOO_LARGE};

/// How long a refused row waits: longer than any test.
const WAIT: Duration = Duration::from_secs(3_600);

/// A relay that has the lease.
pub struct ByHand {
    outbox: Arc<dyn Outbox>,
    epoch: Epoch,
    /// Where the last step left the outbox.
    standing: Standing,
    /// Mails that were found due and not ended yet.
    due: Vec<StoredRow>,
}

impl ByHand {
    async fn begin(database: &Arc<dyn Database>) -> Self {
        let outbox = database.clone().outbox();
        let (fleet, host) = ("exchange".to_owned(), "by hand".to_owned());
        let applicant = Applicant { fleet, host, former: None, time: LIMIT };
        let Leased::Ours(epoch) = outbox.lease(&applicant).await.unwrap() else {
            panic!("another relay has the lease");
        };
        let standing = outbox.renew(epoch, LIMIT).await.unwrap();
        Self { outbox, epoch, standing, due: Vec::new() }
    }

    /// Of the two records and the mail of an event the first record and the mail are refused, and the other
    /// record is sent. Answers the two that wait.
    pub async fn with_two_refused(database: &Arc<dyn Database>) -> (Self, i64, i64) {
        let mut relay = Self::begin(database).await;
        let record = relay.records().await[0];
        let refused = Refused { id: record, reason: TOO_LARGE.to_owned(), wait: Some(WAIT) };
        let others = relay.advance(UnderWay::NotSent, vec![refused]).await;
        assert_eq!(others.len(), 1, "the other key goes on");
        relay.sent().await;
        let mail = relay.mails().await[0];
        relay.refuse_mail(mail, NO_MAILBOX).await;
        (relay, record, mail)
    }

    async fn advance(&mut self, under_way: UnderWay, refused: Vec<Refused>) -> Vec<i64> {
        let step = Advance {
            expected: self.standing,
            under_way,
            refused,
            paused: Vec::new(),
            rows: 100,
            bytes: 1_000_000,
            lease: LIMIT,
        };
        let batch = self.outbox.advance(self.epoch, step).await.unwrap();
        self.standing = batch.standing;
        batch.rows.iter().map(|stored| stored.id).collect()
    }

    /// The records that are due; what was under way has not been sent.
    pub async fn records(&mut self) -> Vec<i64> {
        self.advance(UnderWay::NotSent, Vec::new()).await
    }

    /// Kafka has taken what was under way.
    pub async fn sent(&mut self) {
        assert_eq!(self.advance(UnderWay::Sent, Vec::new()).await, Vec::<i64>::new());
    }

    /// The mails that are due.
    pub async fn mails(&mut self) -> Vec<i64> {
        self.due = self.outbox.mails(self.epoch, 100).await.unwrap();
        self.due.iter().map(|stored| stored.id).collect()
    }

    /// The server has not taken a mail that was due.
    pub async fn refuse_mail(&mut self, id: i64, reason: &str) {
        let mail = self.due.iter().find(|stored| stored.id == id).unwrap();
        let message_id = mail.row.key.clone().unwrap();
        let refused = Some(Refused { id, reason: reason.to_owned(), wait: Some(WAIT) });
        self.outbox.mails_ended(self.epoch, vec![MailEnded { id, message_id, refused }]).await.unwrap();
    }

    /// The rows of the table, all of which must have been refused: those that are due, and those that wait.
    pub async fn refused(&self) -> (Vec<i64>, Vec<i64>) {
        let rows = self.outbox.list(false, 100).await.unwrap();
        assert!(rows.iter().all(|row| row.parked == Parked::Waits && row.last_error.is_some()), "{rows:?}");
        let (due, wait): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.wait_ms == Some(0));
        let ids = |rows: Vec<ListedRow>| rows.into_iter().map(|row| row.id).collect();
        (ids(due), ids(wait))
    }
}
