//! Days, ISO weeks and months, in the Gregorian calendar.

use serde::Deserialize;

/// A day of the calendar, from year 1 to 9999; written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Day {
    year: i64,
    month: i64,
    day: i64,
}

impl Day {
    /// Reads a day.
    ///
    /// # Errors
    /// That it is none.
    pub fn parse(text: &str) -> Result<Day, String> {
        Day::parts(text)
            .filter(|day| day.year >= 1 && (1..=days_in_month(day.year, day.month)).contains(&day.day))
            .ok_or_else(|| format!("\"{text}\" is not a day; write it as YYYY-MM-DD"))
    }

    fn parts(text: &str) -> Option<Day> {
        let digits = |part: &str, wanted: usize| {
            let all_digits = part.len() == wanted && part.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| part.parse().ok()).flatten()
        };
        let (year, rest) = text.split_once('-')?;
        let (month, day) = rest.split_once('-')?;
        Some(Day { year: digits(year, 4)?, month: digits(month, 2)?, day: digits(day, 2)? })
    }

    /// The day as text: `2026-11-21`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// Its month: `2026-11`.
    #[must_use]
    pub fn month(self) -> String {
        format!("{:04}-{:02}", self.year, self.month)
    }

    /// Its week by ISO 8601: `2026-W47`. Weeks begin on Monday and belong to the year that holds their
    /// Thursday.
    #[must_use]
    pub fn iso_week(self) -> String {
        let days = days_before_year(self.year) + self.day_of_year() - 1;
        // Day 0 is 1 January of year 1, a Monday; so the Thursday of a week is 3 days after its begin.
        let thursday = days - days.rem_euclid(7) + 3;
        let year = if thursday < days_before_year(self.year) {
            self.year - 1
        } else if thursday >= days_before_year(self.year + 1) {
            self.year + 1
        } else {
            self.year
        };
        let week = (thursday - days_before_year(year)) / 7 + 1;
        format!("{year:04}-W{week:02}")
    }

    /// 1 for 1 January.
    fn day_of_year(self) -> i64 {
        (1..self.month).map(|month| days_in_month(self.year, month)).sum::<i64>() + self.day
    }
}

impl TryFrom<String> for Day {
    type Error = String;

    fn try_from(text: String) -> Result<Day, String> {
        Day::parse(&text)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// 0 for a month that does not exist, so that no day is in it.
fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// Days from 1 January of year 1 to 1 January of this year.
fn days_before_year(year: i64) -> i64 {
    let years = year - 1;
    years * 365 + years / 4 - years / 100 + years / 400
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_belong_to_the_year_of_their_thursday() {
        let cases = [
            ("2026-11-21", "2026-W47"),
            ("2026-01-01", "2026-W01"),
            ("2026-12-31", "2026-W53"),
            ("2027-01-01", "2026-W53"),
            ("2027-01-03", "2026-W53"),
            ("2027-01-04", "2027-W01"),
            ("2024-12-29", "2024-W52"),
            ("2024-12-30", "2025-W01"),
            ("2021-01-03", "2020-W53"),
            ("2023-01-01", "2022-W52"),
            ("2020-12-31", "2020-W53"),
            ("2008-12-29", "2009-W01"),
            ("2000-01-02", "1999-W52"),
            ("2016-02-29", "2016-W09"),
        ];
        for (day, week) in cases {
            assert_eq!(Day::parse(day).unwrap().iso_week(), week, "{day}");
        }
    }

    #[test]
    fn every_week_of_forty_years_has_seven_days_in_a_row() {
        let mut weeks: Vec<(String, usize)> = Vec::new();
        for year in 1999..2039 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    let week = Day { year, month, day }.iso_week();
                    match weeks.last_mut() {
                        Some((last, days)) if *last == week => *days += 1,
                        _ => weeks.push((week, 1)),
                    }
                }
            }
        }
        let inner = &weeks[1..weeks.len() - 1];
        assert!(inner.iter().all(|(_, days)| *days == 7));
        assert!(inner.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn only_days_of_the_calendar_are_read() {
        for day in ["2026-11-21", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"] {
            assert_eq!(Day::parse(day).unwrap().name(), day);
        }
        assert_eq!(Day::parse("2026-01-05").unwrap().month(), "2026-01");
        for text in ["", "2026-11-31", "2026-02-29", "1900-02-29", "2026-13-01", "2026-1-01", "0000-01-01"] {
            assert!(Day::parse(text).is_err(), "{text}");
        }
        for text in ["2026-11-21Z", "2026/11/21", "+026-11-21", "2026-11--1", "2026-11-2é"] {
            assert!(Day::parse(text).is_err(), "{text}");
        }
    }
}
