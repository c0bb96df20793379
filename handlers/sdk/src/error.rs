//! What a call into the host may answer instead of a result, and whether a later attempt can help.

use crate::bindings::keylane::handler::{mail, producer, sql};
use crate::bindings::wasi::config::store as config;
use crate::bindings::wasi::keyvalue::store;
use crate::failure::Failure;

/// Why a call into the host failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The manifest does not grant this database or topic.
    #[error("not granted by the manifest: {0}")]
    NotGranted(String),
    /// The database, or the host on its behalf, refused a statement.
    #[error("statement refused: {0}")]
    StatementRefused(String),
    /// An earlier statement of this event failed, so what it did will be undone.
    #[error("the event is aborted, because an earlier statement failed")]
    Aborted,
    /// The database could not be reached or did not answer in time.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// A named limit of the host was passed.
    #[error("a limit was passed: {0}")]
    Limit(String),
    /// Not an address, or it or the subject holds a control character.
    #[error("mail refused: {0}")]
    MailRefused(String),
    /// An operation on a bucket failed.
    #[error("a value by its key: {0}")]
    KeyValue(String),
    /// The manifest does not grant a request, or it passes a limit.
    #[error("request refused: {0}")]
    RequestRefused(String),
    /// A request has no answer.
    #[error("request failed: {0}")]
    RequestFailed(String),
    /// A row has no such column, or its value is of another type than was asked for.
    #[error("column \"{column}\": {problem}")]
    Column {
        /// The column that was asked for.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A body could not be written as JSON.
    #[error("a body could not be written as JSON: {0}")]
    Body(String),
}

impl Error {
    /// Whether a later attempt of the same event can help. A refused statement counts as such: it may
    /// have met a row that another event wrote at the same moment, and its attempts are bounded.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Error::StatementRefused(_)
            | Error::Aborted
            | Error::Unavailable(_)
            | Error::KeyValue(_)
            | Error::RequestFailed(_) => true,
            Error::NotGranted(_)
            | Error::Limit(_)
            | Error::MailRefused(_)
            | Error::RequestRefused(_)
            | Error::Column { .. }
            | Error::Body(_) => false,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        if error.can_retry() { Failure::retry(error.to_string()) } else { Failure::reject(error.to_string()) }
    }
}

impl From<sql::Error> for Error {
    fn from(error: sql::Error) -> Error {
        match error {
            sql::Error::NotGranted(what) => Error::NotGranted(what),
            sql::Error::Refused(why) => Error::StatementRefused(why),
            sql::Error::Aborted => Error::Aborted,
            sql::Error::Limit(which) => Error::Limit(which),
            sql::Error::Unavailable(why) => Error::Unavailable(why),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        match error {
            store::Error::NoSuchStore | store::Error::AccessDenied => {
                Error::NotGranted("the bucket".to_owned())
            }
            store::Error::Other(why) => Error::KeyValue(why),
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Error {
        match error {
            config::Error::Upstream(why) | config::Error::Io(why) => Error::Unavailable(why),
        }
    }
}

impl From<producer::Error> for Error {
    fn from(error: producer::Error) -> Error {
        match error {
            producer::Error::NotGranted(what) => Error::NotGranted(what),
            producer::Error::Limit(which) => Error::Limit(which),
        }
    }
}

impl From<mail::Error> for Error {
    fn from(error: mail::Error) -> Error {
        match error {
            mail::Error::Refused(why) => Error::MailRefused(why),
            mail::Error::Limit(which) => Error::Limit(which),
        }
    }
}
