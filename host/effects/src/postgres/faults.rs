//! What an error of the driver means, told by whose it is.

use crate::error::{DatabaseError, StatementError, StepError};

/// `serialization_failure`.
const SERIALIZATION: &str = "40001";
/// `deadlock_detected`.
const DEADLOCK: &str = "40P01";
/// `lock_not_available`: a lock was not had within `lock_timeout`.
const LOCK_TIMEOUT: &str = "55P03";
/// `query_canceled`.
const CANCELED: &str = "57014";
/// `feature_not_supported`, with which a prepared statement says that its table was changed since.
const UNSUPPORTED: &str = "0A000";
/// `in_failed_sql_transaction`.
pub(crate) const ABORTED: &str = "25P02";
/// `unique_violation`.
pub(crate) const UNIQUE: &str = "23505";
/// Classes of a server in trouble: connection, resources, operator, system, internal.
const TROUBLE: [&str; 5] = ["08", "53", "57", "58", "XX"];
/// `idle_in_transaction_session_timeout` and `transaction_timeout`.
const SESSION_ENDED: [&str; 2] = ["25P03", "25P04"];

/// The SQLSTATE, if the server answered.
pub(crate) fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|answer| answer.code()).map(std::borrow::Cow::into_owned)
}

/// Whether the server has answered that the statement failed, and the session goes on.
pub(crate) fn is_answer(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| !is_trouble(&code))
}

fn is_trouble(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    code != CANCELED && (TROUBLE.contains(&class) || SESSION_ENDED.contains(&code))
}

/// Whether another transaction was in the way.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let stale = || error.to_string().contains("cached plan");
    match code(error).as_deref() {
        Some(SERIALIZATION | DEADLOCK | LOCK_TIMEOUT) => true,
        Some(UNSUPPORTED) => stale(),
        _ => false,
    }
}

/// Whether the statements that the session keeps prepared are out of date.
pub(crate) fn is_stale(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(UNSUPPORTED) && is_conflict(error)
}

/// A guest's statement failed.
pub(crate) fn of_guest(error: &sqlx::Error, url: &str) -> StepError {
    let said = words(error);
    if is_conflict(error) {
        return StepError::Conflict(said);
    }
    match code(error) {
        Some(code) if code == CANCELED => StatementError::Unavailable(said).into(),
        Some(code) if code.starts_with("54") => StatementError::Limit(said).into(),
        Some(code) if !is_trouble(&code) => StatementError::Refused(said).into(),
        None if is_value(error) => StatementError::Refused(said).into(),
        _ => unavailable(said, url).into(),
    }
}

/// A statement of the host's own failed.
pub(crate) fn of_host(error: &sqlx::Error, url: &str) -> DatabaseError {
    let said = words(error);
    let passing = is_conflict(error) || code(error).is_none_or(|code| is_trouble(&code) || code == CANCELED);
    if passing && !is_value(error) {
        return unavailable(said, url);
    }
    DatabaseError::Tables { url: url.to_owned(), reason: said }
}

/// The server, or a connection to it, was not had in time by the host's clock.
pub(crate) fn late(said: String) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, said))
}

/// Whether the statement was cancelled, by whoever.
pub(crate) fn is_canceled(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(CANCELED)
}

/// `division_by_zero`.
pub(crate) fn is_division(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("22012")
}

/// Whether a lock was not had within `lock_timeout`.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some(LOCK_TIMEOUT)
}

/// The database does not answer.
pub(crate) fn unavailable(reason: String, url: &str) -> DatabaseError {
    DatabaseError::Unavailable { url: url.to_owned(), reason }
}

/// Whether a value could not be said or read.
pub(crate) fn is_value(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::Encode(_))
}

/// The error as the server says it.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => answer.message().to_owned(),
        sqlx::Error::ColumnDecode { index, source } => format!("column {index}: {source}"),
        sqlx::Error::Encode(source) | sqlx::Error::Decode(source) => source.to_string(),
        sqlx::Error::Io(source) => source.to_string(),
        _ => error.to_string(),
    }
}
