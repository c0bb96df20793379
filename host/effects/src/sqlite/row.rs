//! Values between SQLite and the interface.
//!
//! SQLite has no boolean and no timestamp: one is stored as 0 or 1, the other as microseconds since the
//! epoch, and both come back as integers, save from a column that is declared BOOLEAN, or TIMESTAMP or
//! DATETIME. A decimal is stored as text and comes back as text; its column must be declared TEXT, because
//! DECIMAL and NUMERIC would make a float of it. A float that is not a number is stored as NULL. A text that
//! is not UTF-8 cannot be read as text; read it `CAST(... AS BLOB)`.

use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Column, Decode, Row, Sqlite, TypeInfo, ValueRef};

use crate::value::Value;

/// A statement being put together.
type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Adds one parameter.
pub(crate) fn bind(query: Query<'_>, value: Value) -> Query<'_> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Boolean(value) => query.bind(value),
        Value::Integer(value) => query.bind(value),
        Value::Float(value) => query.bind(value),
        Value::Timestamp(value) => query.bind(value),
        Value::Text(value) | Value::Decimal(value) => query.bind(value),
        Value::Bytes(value) => query.bind(value),
    }
}

/// The names of a row's columns.
pub(crate) fn names<C: Column>(columns: &[C]) -> Vec<String> {
    columns.iter().map(|column| column.name().to_owned()).collect()
}

/// The values of one row.
pub(crate) fn values(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    row.columns().iter().map(|column| value(row, column)).collect()
}

fn value(row: &SqliteRow, column: &sqlx::sqlite::SqliteColumn) -> Result<Value, sqlx::Error> {
    let raw = row.try_get_raw(column.ordinal())?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    let kind = raw.type_info().name().to_owned();
    let unreadable = |source| sqlx::Error::ColumnDecode { index: column.name().to_owned(), source };
    decode(raw, &kind, column.type_info().name()).map_err(unreadable)
}

fn decode(
    raw: SqliteValueRef<'_>,
    kind: &str,
    declared: &str,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match kind {
        "INTEGER" | "BOOLEAN" | "DATETIME" => integer(<i64 as Decode<Sqlite>>::decode(raw)?, declared),
        "REAL" => Value::Float(<f64 as Decode<Sqlite>>::decode(raw)?),
        "TEXT" => Value::Text(<String as Decode<Sqlite>>::decode(raw)?),
        _ => Value::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(raw)?),
    })
}

fn integer(value: i64, declared: &str) -> Value {
    match declared {
        "BOOLEAN" => Value::Boolean(value != 0),
        "DATETIME" => Value::Timestamp(value),
        _ => Value::Integer(value),
    }
}
