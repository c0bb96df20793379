//! Mistakes that a relay's surroundings could make, each caught by the check that is there for it
//! (`tests/mistakes.rs`). If one is not, the simulation proves nothing of that promise.

/// A mistake: of the outbox, or of Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// The position is written after the transaction of its records and not in it.
    PositionAfterwards,
    /// Opening the way ends nobody else's.
    NoFence,
    /// Everybody may write to the relay's row.
    NoEpochCheck,
    /// Rows are taken behind the last one that was taken, and not as they become visible.
    BySequence,
    /// A row that was refused does not hold up those of its key behind it.
    KeysDoNotWait,
    /// The next batch has the next number.
    BatchesInSequence,
    /// Numberings are drawn by the clock alone, whatever Kafka has.
    NumberingsByTheClock,
    /// A mail is begun whether or not the lease still holds.
    MailsWithoutLease,
    /// What became of a mail is noted at whatever row has its number by then.
    MailsByNumber,
    /// Where the relay left the outbox is not compared with where it is.
    NoComparison,
}
