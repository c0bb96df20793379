//! What a value makes its handler do, as `tests/guests/witness` and `ledger-witness` read it, and how its event
//! must end.

use crate::effects::Effects;
use crate::numbers::Numbers;

/// More attempts than any policy has: such an event is never done.
pub const NEVER: u32 = 1_000_000;

/// The first line of a value: `ID FATE NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing happens.
    Done,
    /// It takes so many milliseconds.
    Slow(u32),
    /// So many attempts ask for another one.
    Retry(u32),
    /// So many attempts trap.
    Trap(u32),
    /// So many attempts never come back by themselves.
    Spin(u32),
    /// So many attempts say that all is well after a statement that failed. Only with a ledger.
    Swallow(u32),
    /// No attempt can help.
    Reject,
}

/// How an event must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MustEnd {
    /// It was done.
    Done,
    /// It lies in the dead letters with this error class.
    DeadLetter(&'static str),
}

impl Fate {
    /// How an event of this fate must end.
    #[must_use]
    pub fn must_end(self) -> MustEnd {
        match self {
            Self::Reject => MustEnd::DeadLetter("reject"),
            Self::Retry(NEVER..) | Self::Swallow(NEVER..) => MustEnd::DeadLetter("retry"),
            Self::Trap(NEVER..) => MustEnd::DeadLetter("trap"),
            Self::Spin(NEVER..) => MustEnd::DeadLetter("timeout"),
            Self::Done
            | Self::Slow(_)
            | Self::Retry(_)
            | Self::Trap(_)
            | Self::Spin(_)
            | Self::Swallow(_) => MustEnd::Done,
        }
    }

    /// How many attempts must fail first.
    #[must_use]
    pub fn failures(self) -> u32 {
        match self {
            Self::Retry(failures) | Self::Trap(failures) | Self::Spin(failures) | Self::Swallow(failures) => {
                failures
            }
            Self::Done | Self::Slow(_) | Self::Reject => 0,
        }
    }

    /// The first line of the value with this number.
    #[must_use]
    pub fn line(self, id: u64) -> String {
        let (name, number) = match self {
            Self::Done => ("done", 0),
            Self::Slow(ms) => ("slow", ms),
            Self::Retry(attempts) => ("retry", attempts),
            Self::Trap(attempts) => ("trap", attempts),
            Self::Spin(attempts) => ("spin", attempts),
            Self::Swallow(attempts) => ("swallow", attempts),
            Self::Reject => ("reject", 0),
        };
        format!("{id} {name} {number}\n")
    }

    /// Reads a value back: its number and its fate.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<(u64, Self)> {
        let line = value.split(|byte| *byte == b'\n').next()?;
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let id = words.next()?.parse().ok()?;
        let (name, number) = (words.next()?, words.next()?.parse().ok()?);
        let fate = match name {
            "done" => Self::Done,
            "slow" => Self::Slow(number),
            "retry" => Self::Retry(number),
            "trap" => Self::Trap(number),
            "spin" => Self::Spin(number),
            "swallow" => Self::Swallow(number),
            "reject" => Self::Reject,
            _ => return None,
        };
        Some((id, fate))
    }

    /// Draws a fate where so many of 10,000 events are slow or fail.
    ///
    /// With a ledger every other retry is a statement's failure that the handler swallows, and the slow are not
    /// as slow: SQLite's only writer waits for them.
    pub fn draw(numbers: &mut Numbers, troubled: u64, effects: Option<Effects>) -> Self {
        let ledger = matches!(effects, Some(Effects::Sqlite | Effects::Postgres));
        match Self::draw_plainly(numbers, troubled) {
            Self::Slow(ms) if ledger => Self::Slow(ms / 2),
            Self::Retry(attempts) if ledger && numbers.below(2) == 0 => Self::Swallow(attempts),
            fate => fate,
        }
    }

    fn draw_plainly(numbers: &mut Numbers, troubled: u64) -> Self {
        if numbers.below(10_000) >= troubled {
            return Self::Done;
        }
        // Spinning costs a whole processor until the time limit: it comes least.
        match numbers.below(100) {
            0..40 => Self::Slow(u32::try_from(numbers.between(20, 250)).unwrap_or(20)),
            40..58 => Self::Retry(u32::try_from(numbers.between(1, 2)).unwrap_or(1)),
            58..68 => Self::Trap(1),
            68..70 => Self::Spin(1),
            70..85 => Self::Reject,
            85..93 => Self::Retry(NEVER),
            93..99 => Self::Trap(NEVER),
            _ => Self::Spin(NEVER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_back() {
        let mut numbers = Numbers::new(4, 1);
        for id in 0..2_000 {
            let fate = Fate::draw(&mut numbers, 9_000, (id % 2 == 0).then_some(Effects::Sqlite));
            let mut value = fate.line(id).into_bytes();
            value.extend_from_slice(b"\xff\n 1 reject 0");
            assert_eq!(Fate::of(&value), Some((id, fate)));
        }
        assert_eq!(Fate::of(b"7 other 1\n"), None);
        assert_eq!(Fate::of(b""), None);
    }

    #[test]
    fn a_statement_fails_only_where_there_is_a_ledger() {
        let swallowed = |effects| {
            let mut numbers = Numbers::new(5, 1);
            let draws = (0..2_000).map(|_| Fate::draw(&mut numbers, 9_000, effects));
            draws.filter(|fate| matches!(fate, Fate::Swallow(_))).count()
        };
        assert!(swallowed(Some(Effects::Sqlite)) > 0 && swallowed(Some(Effects::Postgres)) > 0);
        assert_eq!((swallowed(Some(Effects::Kafka)), swallowed(None)), (0, 0));
    }

    #[test]
    fn what_cannot_be_done_must_be_in_the_dead_letters() {
        assert_eq!(Fate::Retry(2).must_end(), MustEnd::Done);
        assert_eq!(Fate::Retry(NEVER).must_end(), MustEnd::DeadLetter("retry"));
        assert_eq!(Fate::Spin(NEVER).must_end(), MustEnd::DeadLetter("timeout"));
        assert_eq!(Fate::Slow(NEVER).must_end(), MustEnd::Done);
        assert_eq!(Fate::Swallow(NEVER).must_end(), MustEnd::DeadLetter("retry"));
        assert_eq!(Fate::Swallow(2).must_end(), MustEnd::Done);
    }
}
