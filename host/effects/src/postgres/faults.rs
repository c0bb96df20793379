//! What an error of the driver means, told by whose it is.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

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
/// `invalid_sql_statement_name` and `duplicate_prepared_statement`: a function of the handler's has changed what
/// the session keeps prepared.
const PREPARED: [&str; 2] = ["26000", "42P05"];
/// `in_failed_sql_transaction`.
pub(crate) const ABORTED: &str = "25P02";
/// `unique_violation`.
pub(crate) const UNIQUE: &str = "23505";
/// `not_null_violation`.
pub(crate) const NOT_NULL: &str = "23502";
/// Classes of a server in trouble: connection, resources, operator, system, internal.
const TROUBLE: [&str; 5] = ["08", "53", "57", "58", "XX"];
/// The class of who may not come in: an unknown user, a wrong password, an address that is not let in.
const NOT_LET_IN: &str = "28";
/// What the server says of itself, whatever was asked of it: `disk_full`, `too_many_connections`, `system_error`,
/// `io_error`. Not the rest of these classes, which one statement can come to by itself: too little memory, more
/// temporary files than it may have, a library that is not there.
const UNABLE: [&str; 4] = ["53100", "53300", "58000", "58030"];
/// The beginning of `admin_shutdown`, `crash_shutdown` and what follows them.
const SHUTDOWN: &str = "57P0";
/// `idle_in_transaction_session_timeout` and `transaction_timeout`.
const SESSION_ENDED: [&str; 2] = ["25P03", "25P04"];

/// `raise_exception`.
const RAISED: &str = "P0001";
/// Where in the server RAISE is carried out: its errors say so, whatever else they say.
const RAISE: &str = "exec_stmt_raise";
/// `undefined_table`.
const NO_TABLE: &str = "42P01";
/// `invalid_parameter_value`, with which SET ROLE says that there is no such role.
pub(crate) const NO_ROLE: &str = "22023";
/// `invalid_catalog_name`: there is no such database.
const NO_DATABASE: &str = "3D000";

fn answer(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// The SQLSTATE, if the server answered. A function of a handler's may raise any of them, which says nothing of
/// the server or of other transactions, so what is raised is all one.
pub(crate) fn code(error: &sqlx::Error) -> Option<&str> {
    let answer = answer(error)?;
    Some(if answer.routine() == Some(RAISE) { RAISED } else { answer.code() })
}

/// Whether the server has answered that the statement failed, and the session goes on.
pub(crate) fn is_answer(error: &sqlx::Error) -> bool {
    answer(error).is_some_and(|answer| answer.severity() == PgSeverity::Error)
}

/// Whether what failed is to blame for it, and not the server, another transaction or an earlier statement.
pub(crate) fn is_own(error: &sqlx::Error) -> bool {
    let own = |code| !is_trouble(code) && code != ABORTED;
    is_answer(error) && !is_conflict(error) && code(error).is_some_and(own)
}

/// Whether the database at the address is none of the host's.
pub(crate) fn is_foreign(error: &sqlx::Error) -> bool {
    code(error) == Some(NO_TABLE)
}

/// What the host found out by itself, on its way through what reports the driver's errors.
pub(crate) fn found(error: DatabaseError) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(error))
}

fn is_trouble(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    code != CANCELED && (TROUBLE.contains(&class) || SESSION_ENDED.contains(&code))
}

/// Whether another transaction was in the way, or the session was: the same may succeed when it is done again.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    let stale = || error.to_string().contains("cached plan");
    match code(error) {
        Some(SERIALIZATION | DEADLOCK | LOCK_TIMEOUT) => true,
        Some(UNSUPPORTED) => stale(),
        Some(code) => PREPARED.contains(&code),
        None => false,
    }
}

/// Whether the statements that the session keeps prepared are not what they were. Another session has its own.
pub(crate) fn is_stale(error: &sqlx::Error) -> bool {
    is_conflict(error) && code(error).is_some_and(|code| code == UNSUPPORTED || PREPARED.contains(&code))
}

/// A guest's statement failed. A lock that its own `NOWAIT` asked for counts as one that was waited for: the run is done
/// once more, and the guest does not hear of it.
pub(crate) fn of_guest(error: &sqlx::Error, url: &str) -> StepError {
    let said = words(error);
    if is_lock_timeout(error) {
        return StepError::Waited(said);
    }
    if is_conflict(error) {
        return StepError::Conflict(said);
    }
    match code(error) {
        Some(code) if code == CANCELED => StatementError::Late(said).into(),
        Some(code) if code.starts_with("54") => StatementError::Limit(said).into(),
        Some(code) if !is_trouble(code) => StatementError::Refused(said).into(),
        None if is_value(error) => StatementError::Refused(said).into(),
        _ => gone(error, said, url).into(),
    }
}

/// The connection is lost, or the server in trouble.
fn gone(error: &sqlx::Error, reason: String, url: &str) -> DatabaseError {
    let is_unable = |code: &str| UNABLE.contains(&code) || code.starts_with(SHUTDOWN);
    if code(error).is_some_and(is_unable) {
        return DatabaseError::Unable { url: url.to_owned(), reason };
    }
    unavailable(reason, url)
}

/// A statement of the host's own failed.
pub(crate) fn of_host(error: &sqlx::Error, url: &str) -> DatabaseError {
    if let sqlx::Error::Configuration(source) = error
        && let Some(found) = source.downcast_ref::<DatabaseError>()
    {
        return found.clone();
    }
    let said = words(error);
    let passes = |code| is_trouble(code) || code == CANCELED || code == NO_DATABASE;
    let passing = is_conflict(error) || code(error).is_none_or(passes);
    if passing && !is_value(error) {
        return gone(error, said, url);
    }
    if code(error).is_some_and(|code| code.starts_with(NOT_LET_IN)) {
        let reason = format!("{said}: is the user right, and its `password-env` or `password-file`?");
        return DatabaseError::Address { url: url.to_owned(), reason };
    }
    DatabaseError::Tables { url: url.to_owned(), reason: said }
}

/// The server, or a connection to it, was not had in time by the host's clock.
pub(crate) fn late(said: String) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, said))
}

/// Whether it is [`late`].
pub(crate) fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(source) if source.kind() == std::io::ErrorKind::TimedOut)
}

/// Whether the statement was cancelled, by whoever.
pub(crate) fn is_canceled(error: &sqlx::Error) -> bool {
    code(error) == Some(CANCELED)
}

/// `division_by_zero`.
pub(crate) fn is_division(error: &sqlx::Error) -> bool {
    code(error) == Some("22012")
}

/// Whether a lock was not had within `lock_timeout`.
pub(crate) fn is_lock_timeout(error: &sqlx::Error) -> bool {
    code(error) == Some(LOCK_TIMEOUT)
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
pub(crate) fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(answer) => answer.message().to_owned(),
        sqlx::Error::ColumnDecode { index, source } => format!("column {index}: {source}"),
        sqlx::Error::Encode(source) | sqlx::Error::Decode(source) => source.to_string(),
        sqlx::Error::Io(source) => source.to_string(),
        _ => error.to_string(),
    }
}
