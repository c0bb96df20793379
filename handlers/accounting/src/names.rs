//! Ids and days, checked where they come in, so that nothing below has to doubt them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest id, in bytes. Ids become keys of tables and records.
pub const ID_BYTES_MAX: usize = 200;

/// The id of a worker or a task: not empty, and at most [`ID_BYTES_MAX`] long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(String);

impl Id {
    /// Checks an id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(id: impl Into<String>) -> Result<Id, String> {
        let id = id.into();
        match id.len() {
            0 => Err("an id must not be empty".to_owned()),
            1..=ID_BYTES_MAX => Ok(Id(id)),
            bytes => Err(format!("an id has at most {ID_BYTES_MAX} bytes, this one {bytes}")),
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(id: String) -> Result<Id, String> {
        Id::new(id)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A day of the calendar, `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Day(String);

impl Day {
    /// Checks a day.
    ///
    /// # Errors
    /// That it is none.
    pub fn new(day: impl Into<String>) -> Result<Day, String> {
        let day = day.into();
        if is_day(&day) {
            Ok(Day(day))
        } else {
            Err(format!("\"{day}\" is not a day; write it as YYYY-MM-DD"))
        }
    }

    /// The day as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_day(text: &str) -> bool {
    let digits = |from: usize, to: usize| {
        text.get(from..to)
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|part| part.parse::<u32>().ok())
    };
    let dashes = text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    match (digits(0, 4), digits(5, 7), digits(8, 10)) {
        (Some(year), Some(month), Some(day)) if dashes && text.len() == 10 => {
            (1..=days_in_month(year, month)).contains(&day)
        }
        _ => false,
    }
}

/// 0 for a month that does not exist, so that no day is in it.
fn days_in_month(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(day: String) -> Result<Day, String> {
        Day::new(day)
    }
}

impl From<Day> for String {
    fn from(day: Day) -> String {
        day.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_days() {
        for day in ["2026-11-21", "2024-02-29", "2000-02-29", "0001-01-01"] {
            assert!(Day::new(day).is_ok(), "{day}");
        }
        for text in ["2026-11-31", "2026-02-29", "1900-02-29", "2026-13-01", "2026-00-10", "2026-1-01"] {
            assert!(Day::new(text).is_err(), "{text}");
        }
        for text in ["", "2026-11-21Z", "2026/11/21", "20261121", "+026-11-21", "2026-11-2é", "éé26-11-2"]
        {
            assert!(Day::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ids_are_neither_empty_nor_endless() {
        assert!(Id::new("").is_err());
        assert!(Id::new("w".repeat(ID_BYTES_MAX)).is_ok());
        assert!(Id::new("w".repeat(ID_BYTES_MAX + 1)).is_err());
    }
}
