//! Between Rust's types and SQL's values.

use crate::sql::Value;

/// A moment, in microseconds since the Unix epoch, UTC.
///
/// ```
/// use keylane_sdk::{params, sql::{Timestamp, Value}};
///
/// assert_eq!(params![Timestamp { micros: 1_000_000 }], &[Value::Timestamp(1_000_000)]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Microseconds since the Unix epoch.
    pub micros: i64,
}

/// An exact decimal number in digits, such as `-12.50`: for money, where a float would round.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Its digits.
    pub digits: String,
}

/// A type that a column can be read as. Implement it for your own types to read them directly.
pub trait FromValue: Sized {
    /// Reads the value.
    ///
    /// # Errors
    /// What is wrong with it, in a few words; the column's name is added by the row.
    fn from_value(value: &Value) -> Result<Self, String>;
}

fn expected<T>(wanted: &str, value: &Value) -> Result<T, String> {
    let found = match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Text(_) => "text",
        Value::Bytes(_) => "bytes",
        Value::Timestamp(_) => "a timestamp",
        Value::Decimal(_) => "a decimal",
    };
    Err(format!("expected {wanted}, found {found}"))
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Result<i64, String> {
        match value {
            Value::Integer(integer) => Ok(*integer),
            other => expected("an integer", other),
        }
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Result<f64, String> {
        match value {
            Value::Float(float) => Ok(*float),
            other => expected("a float", other),
        }
    }
}

impl FromValue for bool {
    /// SQLite keeps booleans as 0 and 1, so these count as such.
    fn from_value(value: &Value) -> Result<bool, String> {
        match value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::Integer(0) => Ok(false),
            Value::Integer(1) => Ok(true),
            other => expected("a boolean", other),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<String, String> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            other => expected("text", other),
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Result<Vec<u8>, String> {
        match value {
            Value::Bytes(bytes) => Ok(bytes.clone()),
            other => expected("bytes", other),
        }
    }
}

impl FromValue for Timestamp {
    /// SQLite keeps timestamps as integers and tells those of columns that are declared `TIMESTAMP` alone, of no
    /// expression, so integers count as microseconds.
    fn from_value(value: &Value) -> Result<Timestamp, String> {
        match value {
            Value::Timestamp(micros) | Value::Integer(micros) => Ok(Timestamp { micros: *micros }),
            other => expected("a timestamp", other),
        }
    }
}

impl FromValue for Decimal {
    /// SQLite has no exact decimals and keeps them as text, so text counts as such.
    fn from_value(value: &Value) -> Result<Decimal, String> {
        match value {
            Value::Decimal(digits) | Value::Text(digits) => Ok(Decimal { digits: digits.clone() }),
            other => expected("a decimal", other),
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Result<Option<T>, String> {
        match value {
            Value::Null => Ok(None),
            present => T::from_value(present).map(Some),
        }
    }
}

impl From<i64> for Value {
    fn from(integer: i64) -> Value {
        Value::Integer(integer)
    }
}

impl From<i32> for Value {
    fn from(integer: i32) -> Value {
        Value::Integer(i64::from(integer))
    }
}

impl From<u32> for Value {
    fn from(integer: u32) -> Value {
        Value::Integer(i64::from(integer))
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Value {
        Value::Boolean(boolean)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Value {
        Value::Float(float)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::Text(text.clone())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Value {
        Value::Bytes(bytes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value::Bytes(bytes.to_vec())
    }
}

impl From<Timestamp> for Value {
    fn from(timestamp: Timestamp) -> Value {
        Value::Timestamp(timestamp.micros)
    }
}

impl From<Decimal> for Value {
    fn from(decimal: Decimal) -> Value {
        Value::Decimal(decimal.digits)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(option: Option<T>) -> Value {
        option.map_or(Value::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_keeps_otherwise_is_read_as_what_it_is() {
        assert_eq!(bool::from_value(&Value::Integer(1)), Ok(true));
        assert_eq!(Timestamp::from_value(&Value::Integer(7)), Ok(Timestamp { micros: 7 }));
        assert_eq!(Timestamp::from_value(&Value::Timestamp(7)), Ok(Timestamp { micros: 7 }));
        let digits = || "-12.50".to_owned();
        assert_eq!(Decimal::from_value(&Value::Text(digits())), Ok(Decimal { digits: digits() }));
        assert_eq!(
            i64::from_value(&Value::Timestamp(7)),
            Err("expected an integer, found a timestamp".to_owned())
        );
    }
}
