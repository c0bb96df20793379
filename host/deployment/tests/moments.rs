//! Moments drawn at random: each that is accepted is counted as the calendar has it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use keylane_deployment::moment_ms;
use proptest::prelude::*;

/// The length of a month in days.
fn month_days(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, counted month by month.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let months = |year: i64, to: i64| (1..to).map(|month| month_days(year, month)).sum::<i64>();
    let years: i64 = match year >= 1970 {
        true => (1970..year).map(|year| months(year, 13)).sum(),
        false => -(year..1970).map(|year| months(year, 13)).sum::<i64>(),
    };
    years + months(year, month) + day - 1
}

fn offset_text(minutes: i64) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read_without_harm(text: String) {
        prop_assert!(moment_ms(&text).is_ok_and(|ms| ms >= 0) || moment_ms(&text).is_err());
    }

    #[test]
    fn anything_like_a_moment_is_read_without_harm(
        text in "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\\.[0-9]{1,12})?)?)?(Z|[+-][0-9]{2}:[0-9]{2})?",
    ) {
        if let Ok(ms) = moment_ms(&text) {
            prop_assert!((0..=days(10_000, 1, 2) * 86_400_000).contains(&ms), "{} is {}", text, ms);
        }
    }

    #[test]
    fn a_moment_is_counted_as_the_calendar_has_it(
        (year, month, day) in (0_i64..=9_999, 1_i64..=12, 1_i64..=31),
        (hour, minute, second) in (0_i64..24, 0_i64..60, 0_i64..60),
        ms in 0_i64..1_000,
        offset in -(23 * 60 + 59)..=(23_i64 * 60 + 59),
    ) {
        let text = format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}{}", offset_text(offset)
        );
        let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset;
        let expected = (minutes * 60 + second) * 1_000 + ms;
        if day > month_days(year, month) || expected < 0 {
            prop_assert!(moment_ms(&text).is_err(), "{}", text);
        } else {
            // The last day of the year 9999 may lie in the year 10000 at another offset.
            let far = expected >= days(9_999, 12, 30) * 86_400_000;
            prop_assert!(far || moment_ms(&text) == Ok(expected), "{} is {:?}", text, moment_ms(&text));
        }
    }
}

#[test]
fn moments_at_the_edges() {
    assert_eq!(moment_ms("1970-01-01T00:00:00Z"), Ok(0));
    assert!(moment_ms("1969-12-31T23:59:59.999Z").is_err());
    assert!(moment_ms("0000-01-01T00:00:00Z").is_err());
    // Some calendars end a day before the last one that can be written.
    assert_eq!(moment_ms("9999-12-30T00:00:00Z"), Ok(253_402_128_000_000));
    assert!(moment_ms("9999-12-31T23:59:59Z").is_err_and(|said| said.contains("9999-12-31")));
    assert_eq!(moment_ms("1970-01-01T23:59:00+23:59"), Ok(0));
    assert!(moment_ms("1970-01-01T00:00:00+00:01").is_err());
    // A leap second is refused, or the end of its minute.
    let leap = moment_ms("2016-12-31T23:59:60Z");
    let end = 1_483_228_800_000;
    assert!(leap.is_err() || leap.clone().is_ok_and(|ms| (end - 1_000..=end).contains(&ms)), "{leap:?}");
    for text in
        ["2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z"]
    {
        assert!(moment_ms(text).is_err(), "{text}");
    }
}
