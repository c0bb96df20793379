//! Where a new group begins to read: a word, a moment, or milliseconds since the Unix epoch.

use jiff::Timestamp;
use toml::Spanned;
use toml::value::{Datetime, Value};

use crate::document::Document;
use crate::error::DeploymentError;
use crate::manifest::Start;

const EXPECTED: &str =
    "write \"earliest\", \"latest\", a moment such as 2026-03-01T00:00:00Z, or milliseconds since 1970";

/// Understands `subscribe.start`.
pub(crate) fn start(document: &Document, given: Option<Spanned<Value>>) -> Result<Start, DeploymentError> {
    let Some(given) = given else { return Ok(Start::Earliest) };
    understand(given.get_ref()).map_err(|problem| document.refuse(given.span(), problem).with_hint(EXPECTED))
}

fn understand(value: &Value) -> Result<Start, String> {
    match value {
        Value::String(word) if word == "earliest" => Ok(Start::Earliest),
        Value::String(word) if word == "latest" => Ok(Start::Latest),
        Value::String(text) => match text.parse() {
            Ok(moment) => epoch_ms(&moment).map(Start::Timestamp),
            Err(_) => Err(format!("{text:?} is no place to start")),
        },
        Value::Datetime(moment) => epoch_ms(moment).map(Start::Timestamp),
        Value::Integer(ms) if *ms >= 0 => Ok(Start::Timestamp(*ms)),
        other => Err(format!("{other} is no place to start")),
    }
}

/// A moment as people write it, such as `2026-03-01T00:00:00Z`, in milliseconds since the Unix epoch.
///
/// # Errors
/// A sentence on what is missing from it.
pub fn moment_ms(text: &str) -> Result<i64, String> {
    let moment = text.parse().map_err(|_| format!("{text:?} is no moment"))?;
    epoch_ms(&moment)
}

/// Milliseconds since the Unix epoch. A moment without an offset is refused: hosts in two zones would
/// start at two places.
fn epoch_ms(moment: &Datetime) -> Result<i64, String> {
    if moment.date.is_none() || moment.time.is_none() {
        return Err(format!("{moment} is not a full date and time"));
    }
    if moment.offset.is_none() {
        return Err(format!("{moment} does not say its offset from UTC"));
    }
    // Both are RFC 3339.
    let parsed = moment.to_string().parse::<Timestamp>();
    let counted = parsed.map_err(|error| format!("{moment} is no moment: {error}"))?;
    match counted < Timestamp::UNIX_EPOCH {
        true => Err(format!("{moment} lies before 1970")),
        false => Ok(counted.as_millisecond()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Result<Start, String> {
        understand(&Value::String(text.to_owned()))
    }

    #[test]
    fn moments_are_counted_from_the_epoch() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T02:00:00+02:00", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("2024-12-31T23:59:59.999Z", 1_735_689_599_999),
            ("2026-03-01T00:00:00-01:30", 1_772_328_600_000),
        ] {
            assert_eq!(moment(text), Ok(Start::Timestamp(ms)), "{text}");
        }
    }

    #[test]
    fn days_follow_one_another() {
        let mut expected_ms = 0;
        for year in 1970..2110 {
            for month in 1..=12 {
                let first = moment_ms(&format!("{year}-{month:02}-01T00:00:00Z"));
                assert_eq!(first, Ok(expected_ms), "{year}-{month}");
                let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
                expected_ms += 86_400_000
                    * match month {
                        2 if leap => 29,
                        2 => 28,
                        4 | 6 | 9 | 11 => 30,
                        _ => 31,
                    };
            }
        }
    }

    #[test]
    fn half_a_moment_is_refused() {
        for text in ["2026-03-01", "12:00:00", "2026-03-01T00:00:00", "yesterday", "1969-12-31T23:59:59Z"] {
            assert!(moment(text).is_err(), "{text}");
        }
        assert!(understand(&Value::Integer(-1)).is_err());
        assert!(understand(&Value::Boolean(true)).is_err());
    }
}
