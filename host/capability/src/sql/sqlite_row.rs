//! Values between SQLite and the interface.
//!
//! SQLite has no boolean: one is stored as 0 or 1 and comes back as an integer, save from a column that
//! is declared BOOLEAN. A float that is not a number is stored as NULL. A text that is not UTF-8 cannot
//! be read as text; read it `CAST(... AS BLOB)`.

use sqlx::sqlite::{SqliteArguments, SqliteRow, SqliteValueRef};
use sqlx::{Column, Decode, Row, Sqlite, TypeInfo, ValueRef};

use crate::bindings::keylane::handler::sql::Value;

/// A statement being put together.
type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Adds one parameter.
pub(crate) fn bind(query: Query<'_>, value: Value) -> Query<'_> {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Boolean(value) => query.bind(value),
        Value::Integer(value) => query.bind(value),
        Value::Float(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
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
    decode(raw, &kind, column.type_info().name() == "BOOLEAN").map_err(unreadable)
}

fn decode(
    raw: SqliteValueRef<'_>,
    kind: &str,
    boolean: bool,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    Ok(match kind {
        "INTEGER" if boolean => Value::Boolean(<i64 as Decode<Sqlite>>::decode(raw)? != 0),
        "INTEGER" => Value::Integer(<i64 as Decode<Sqlite>>::decode(raw)?),
        "REAL" => Value::Float(<f64 as Decode<Sqlite>>::decode(raw)?),
        "TEXT" => Value::Text(<String as Decode<Sqlite>>::decode(raw)?),
        _ => Value::Bytes(<Vec<u8> as Decode<Sqlite>>::decode(raw)?),
    })
}
