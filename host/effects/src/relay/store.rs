//! What the relay and its commands need of a database, implemented by each driver (`sqlite/outbox.rs`,
//! `postgres/outbox.rs`).
//!
//! The relay's own row holds whose turn it is, under which numbering it counts, the last batch that Kafka is
//! known to have, and the batch under way: a number and the rows in it. A batch is made of rows that are
//! visible, in the order of their ids. Ids alone say nothing: they follow neither commits nor locks. But of
//! two rows of which one was caused by the other, the cause has the smaller id and is visible first.
//!
//! A row that was refused waits, and with it all later rows of its key and topic; see [`Parked`].

use std::time::Duration;

use keylane_engine::{Boxed, Epoch};

use crate::database::OutboxRow;
use crate::error::DatabaseError;

/// The most rows behind one that was refused that are let go with it at once; the last of them lets go the
/// next ones.
pub(crate) const RELEASE_ROWS_MAX: i64 = 5_000;
/// The most rows whose time has come that are let go at once.
pub(crate) const DUE_ROWS_MAX: i64 = 1_000;
/// How many lots of rows are put aside behind others that wait, in search of one that may be sent, before the
/// transaction is ended and others have their turn.
pub(crate) const ASIDE_MAX: u32 = 16;
/// No lease is good for longer than so many times what a lease is.
pub(crate) const LEASES: u32 = 2;
/// The most characters of an error that a row keeps.
pub(crate) const ERROR_CHARS_MAX: usize = 500;

/// Whether a row waits, as its column `parked` has it; what may be sent is not above 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parked {
    /// It may be sent, and when it has been, rows wait to be let go.
    Leads = -1,
    /// It may be sent.
    No = 0,
    /// It was refused and waits for its time.
    Waits = 1,
    /// An earlier row of its key waits.
    Behind = 2,
}

impl Parked {
    pub(crate) fn of(number: i64) -> Self {
        match number {
            ..=-1 => Self::Leads,
            0 => Self::No,
            1 => Self::Waits,
            2.. => Self::Behind,
        }
    }
}

/// Who asks for the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// The fleet; a database's outbox belongs to one.
    pub fleet: String,
    /// The host, for people.
    pub host: String,
    /// What it held before, if it did: it need not wait for that to run out.
    pub former: Option<Epoch>,
    /// How long the lease is good without being renewed.
    pub time: Duration,
}

/// What came of asking for the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leased {
    /// The relay's row is ours until somebody else takes it.
    Ours(Epoch),
    /// Another host has it.
    Held {
        /// Its name.
        by: String,
    },
}

/// Under what the relay counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// No relay has ever begun.
    Fresh,
    /// An operator wants a new numbering.
    Reset {
        /// The one that was counted under, so that what became of the batch under way can still be found out.
        former: i64,
        /// The one that is to begin: the time of the operator's word, in microseconds since 1970, and more than
        /// any before. Kafka so shows whether this word was carried out already: a backup may hold one that was.
        next: i64,
    },
    /// Begun: its number.
    Begun(i64),
}

/// Where the database believes the relay to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Under what it counts.
    pub numbering: Numbering,
    /// The last batch that Kafka is known to have.
    pub sent: i64,
    /// The last batch that was made; under way if it is above `sent`.
    pub highest: i64,
}

/// What became of the batch under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderWay {
    /// Nothing is, or Kafka does not have it and never will.
    NotSent,
    /// Kafka has it.
    Sent,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The row.
    pub id: i64,
    /// Why.
    pub reason: String,
    /// How long it waits, and its key with it; none only notes the failure.
    pub wait: Option<Duration>,
}

/// What became of a mail. A row's number alone is not enough: an older copy of the database, which has the same
/// epoch, may have another row under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailEnded {
    /// The row.
    pub id: i64,
    /// The mail's Message-ID, as the row's key has it.
    pub message_id: Vec<u8>,
    /// Why it was not taken; none if it was.
    pub refused: Option<Refused>,
}

/// What is to be done about mails that were found again under their numbers: rows to delete, and refusals.
pub(crate) fn noted(ended: &[MailEnded], found: &[i64]) -> (Vec<i64>, Vec<Refused>) {
    let found = ended.iter().filter(|mail| found.contains(&mail.id));
    let (taken, refused): (Vec<_>, Vec<_>) = found.partition(|mail| mail.refused.is_none());
    let ids = taken.into_iter().map(|mail| mail.id).collect();
    (ids, refused.into_iter().filter_map(|mail| mail.refused.clone()).collect())
}

/// One step of the relay: what was, and what is wanted next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Where the relay left the outbox. Where it finds it elsewhere, an older copy of the database has come in
    /// its place: what the relay knows is of other rows then, and nothing may be done.
    pub expected: Standing,
    /// What became of the batch under way.
    pub under_way: UnderWay,
    /// Rows of it that were refused.
    pub refused: Vec<Refused>,
    /// Topics of which nothing is to be taken now.
    pub paused: Vec<String>,
    /// The most rows of the next batch.
    pub rows: usize,
    /// The most bytes of the next batch, but for its first row.
    pub bytes: usize,
    /// How long the lease is good from now on.
    pub lease: Duration,
}

/// A row in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The row's own number.
    pub id: i64,
    /// Failed attempts so far.
    pub attempts: u32,
    /// What is to be sent.
    pub row: OutboxRow,
}

/// Rows to be sent in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Where the relay stands now; the batch's number is the highest one.
    pub standing: Standing,
    /// Its rows, in the order in which they are to be sent; none where there is nothing to send.
    pub rows: Vec<StoredRow>,
}

/// A row as the commands show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedRow {
    /// The row's own number.
    pub id: i64,
    /// The handler that made it.
    pub handler: String,
    /// The topic of the event that made it.
    pub event_topic: String,
    /// That event's partition.
    pub event_partition: i32,
    /// The row, without its value.
    pub row: OutboxRow,
    /// The value's size, in bytes.
    pub value_bytes: i64,
    /// Failed attempts so far.
    pub attempts: u32,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// Whether it waits.
    pub parked: Parked,
    /// How long it still waits, in milliseconds.
    pub wait_ms: Option<i64>,
    /// How long ago it was written, in milliseconds.
    pub age_ms: i64,
}

/// The outbox in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxCounts {
    /// Records.
    pub records: u64,
    /// Mails.
    pub mails: u64,
    /// Rows, of both, that were refused or stand behind one that was.
    pub parked: u64,
    /// The age of the oldest row, in milliseconds.
    pub oldest_ms: i64,
}

/// Which rows a command means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All that were refused.
    Refused,
    /// These.
    Rows(Vec<i64>),
}

/// What came of dropping rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Rows that are gone now.
    pub dropped: u64,
    /// Rows that are on their way to Kafka: too late.
    pub under_way: Vec<i64>,
}

/// What goes wrong with an outbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    /// Another host relays, or an operator has reset the outbox.
    #[error("another host relays this outbox now, or it was reset")]
    NotOwner,
    /// The outbox is another fleet's.
    #[error(
        "the outbox belongs to the fleet {stands:?}, this host is of {asked:?}; give each fleet a database of its \
         own, or run `keylane adopt` where the fleet was renamed and none of its hosts runs under the former name"
    )]
    OtherFleet {
        /// Whose it is.
        stands: String,
        /// Who asked.
        asked: String,
    },
    /// The outbox is not where its relay left it.
    #[error(
        "the relay left its outbox at batch {}, {} sent, and finds it at {}, {} sent: the database was set back",
        left.highest, left.sent, found.highest, found.sent
    )]
    SetBack {
        /// Where the relay left it.
        left: Standing,
        /// Where it is.
        found: Standing,
    },
    /// The database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// The outbox of a database.
pub trait Outbox: Send + Sync {
    /// The database's identity, under which its position is kept in Kafka.
    fn database(&self) -> &str;

    /// Takes the lease if nobody else has it, under a new epoch.
    fn lease(&self, applicant: &Applicant) -> Boxed<'_, Result<Leased, OutboxError>>;

    /// Renews the lease and answers where the relay stands.
    fn renew(&self, epoch: Epoch, time: Duration) -> Boxed<'_, Result<Standing, OutboxError>>;

    /// Gives the lease back, so that another host need not wait for it to run out.
    fn release(&self, epoch: Epoch) -> Boxed<'_, Result<(), OutboxError>>;

    /// Begins a numbering: nothing is sent, nothing is under way.
    fn begin_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>>;

    /// Kafka counts under this numbering, and it is no known one: the one after the next reset is above it, whatever
    /// the clock says by which numberings are drawn. A reset from before that counts no more.
    fn know_numbering(&self, epoch: Epoch, numbering: i64) -> Boxed<'_, Result<(), OutboxError>>;

    /// Ends the batch under way and makes the next one, all in one transaction, if the outbox is where the relay
    /// left it.
    fn advance(&self, epoch: Epoch, step: Advance) -> Boxed<'_, Result<Batch, OutboxError>>;

    /// Whether [`Self::advance`] would find a record to send, but for those of paused topics. Reads only.
    fn has_records(&self, paused: &[String]) -> Boxed<'_, Result<bool, OutboxError>>;

    /// Whether [`Self::mails`] would find one. Reads only.
    fn has_mails(&self) -> Boxed<'_, Result<bool, OutboxError>>;

    /// Mails whose time has come, oldest first.
    fn mails(&self, epoch: Epoch, rows: usize) -> Boxed<'_, Result<Vec<StoredRow>, OutboxError>>;

    /// Notes what became of mails, where they are still there.
    fn mails_ended(&self, epoch: Epoch, ended: Vec<MailEnded>) -> Boxed<'_, Result<(), OutboxError>>;

    /// The outbox in figures.
    fn counts(&self) -> Boxed<'_, Result<OutboxCounts, OutboxError>>;

    /// The oldest rows; only those that were refused, if that is asked for.
    fn list(&self, refused_only: bool, rows: usize) -> Boxed<'_, Result<Vec<ListedRow>, OutboxError>>;

    /// Lets refused rows be tried again at once. Answers how many.
    fn retry(&self, which: Selection) -> Boxed<'_, Result<u64, OutboxError>>;

    /// Deletes rows for good, whether they were sent or not; what stood behind them goes on.
    fn drop_rows(&self, which: Selection) -> Boxed<'_, Result<Dropped, OutboxError>>;

    /// Has a new numbering begun, whatever Kafka has. Whoever relays now stops and takes over anew; the batch
    /// under way is kept until then, since it may have been sent.
    fn reset(&self) -> Boxed<'_, Result<(), OutboxError>>;
}
