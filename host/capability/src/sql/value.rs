//! Values and errors between the interface and the databases.

use keylane_effects::{StatementError, Value};

use crate::bindings::keylane::handler::sql;

/// A guest's value as a database takes it.
pub(crate) fn from_guest(value: sql::Value) -> Value {
    match value {
        sql::Value::Null => Value::Null,
        sql::Value::Boolean(value) => Value::Boolean(value),
        sql::Value::Integer(value) => Value::Integer(value),
        sql::Value::Float(value) => Value::Float(value),
        sql::Value::Text(value) => Value::Text(value),
        sql::Value::Bytes(value) => Value::Bytes(value),
        sql::Value::Timestamp(value) => Value::Timestamp(value),
        sql::Value::Decimal(value) => Value::Decimal(value),
    }
}

/// A database's value as a guest gets it.
fn to_guest(value: Value) -> sql::Value {
    match value {
        Value::Null => sql::Value::Null,
        Value::Boolean(value) => sql::Value::Boolean(value),
        Value::Integer(value) => sql::Value::Integer(value),
        Value::Float(value) => sql::Value::Float(value),
        Value::Text(value) => sql::Value::Text(value),
        Value::Bytes(value) => sql::Value::Bytes(value),
        Value::Timestamp(value) => sql::Value::Timestamp(value),
        Value::Decimal(value) => sql::Value::Decimal(value),
    }
}

/// What a query answers.
pub(crate) fn rows(rows: keylane_effects::Rows) -> sql::Rows {
    let values = |row: Vec<Value>| row.into_iter().map(to_guest).collect();
    sql::Rows { columns: rows.columns, rows: rows.rows.into_iter().map(values).collect() }
}

/// What a failed statement answers.
pub(crate) fn error(error: StatementError) -> sql::Error {
    match error {
        StatementError::NotGranted(said) => sql::Error::NotGranted(said),
        StatementError::Refused(said) => sql::Error::Refused(said),
        StatementError::Aborted => sql::Error::Aborted,
        StatementError::Limit(said) => sql::Error::Limit(said),
        StatementError::Late(said) | StatementError::Unavailable(said) => sql::Error::Unavailable(said),
    }
}
