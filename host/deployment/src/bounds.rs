//! Every limit has a least, a default and a most. They are written down once, here, and the
//! messages are made from them.

use std::fmt::Display;

use toml::Spanned;

use crate::document::Document;
use crate::error::DeploymentError;
use crate::quantity::{Count, Size, Time};

/// Something that can be limited.
pub trait Quantity: Copy + PartialOrd + Display {}

impl Quantity for Count {}
impl Quantity for Size {}
impl Quantity for Time {}

/// What a limit may be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds<Q> {
    /// The least it may be.
    pub least: Q,
    /// What it is when the file does not say.
    pub default: Q,
    /// The most it may be.
    pub most: Q,
}

impl<Q: Quantity> Bounds<Q> {
    /// The given value if it is within the bounds, the default if none is given.
    ///
    /// # Errors
    /// When the value is out of bounds.
    pub fn check(&self, document: &Document, given: Option<Spanned<Q>>) -> Result<Q, DeploymentError> {
        given.map_or(Ok(self.default), |given| within(document, &given, self.least, self.most))
    }
}

/// The given value if it is within the bounds. For limits that are off unless they are given.
pub(crate) fn within<Q: Quantity>(
    document: &Document,
    given: &Spanned<Q>,
    least: Q,
    most: Q,
) -> Result<Q, DeploymentError> {
    let value = *given.get_ref();
    if value < least || value > most {
        let problem = format!("{value} is out of bounds: from {least} to {most}");
        return Err(document.refuse(given.span(), problem));
    }
    Ok(value)
}

const fn count(least: i64, default: i64, most: i64) -> Bounds<Count> {
    Bounds { least: Count(least), default: Count(default), most: Count(most) }
}

const fn mebibytes(least: u64, default: u64, most: u64) -> Bounds<Size> {
    Bounds { least: Size(least << 20), default: Size(default << 20), most: Size(most << 20) }
}

const fn milliseconds(least: u64, default: u64, most: u64) -> Bounds<Time> {
    Bounds { least: Time { ms: least }, default: Time { ms: default }, most: Time { ms: most } }
}

/// The time between two transactions of Kafka's. What is done meanwhile waits in memory, and so do its readers.
pub(crate) const TRANSACTION_INTERVAL: Bounds<Time> = milliseconds(1, 50, 5_000);
/// Failed attempts before the last step.
pub(crate) const ATTEMPTS: Bounds<Count> = count(1, 8, 1_000);
/// Failures of one class that costs attempts, before the last step.
pub(crate) const CLASS_CAP: Bounds<Count> = count(1, 3, 1_000);
/// Failures of what the host itself needs, which cost no attempts, before the last step.
pub(crate) const EFFECTS_CAP: Bounds<Count> = count(1, 1_000, 1_000_000);
/// The least time for an event's attempts.
pub(crate) const MAX_AGE_LEAST: Time = Time { ms: 100 };
/// The most: 30 days.
pub(crate) const MAX_AGE_MOST: Time = Time { ms: 30 * 24 * 3_600_000 };
/// Percent of events that may end badly before the partition stops. With 100 it never does.
pub(crate) const FLOOD_SHARE: Bounds<Count> = count(1, 50, 100);
/// The endings that are looked at for it.
pub(crate) const FLOOD_EVENTS: Bounds<Count> = count(10, 200, 10_000);
/// The wait after the first failed attempt.
pub(crate) const BACKOFF: Bounds<Time> = milliseconds(1, 500, 3_600_000);
/// The longest wait between two attempts.
pub(crate) const BACKOFF_MAX: Bounds<Time> = milliseconds(1, 60_000, 24 * 3_600_000);
/// Rows that one query may answer.
pub(crate) const ROWS: Bounds<Count> = count(1, 10_000, 1_000_000);
/// Records that one event may produce: the default lets a handler walk a page of a thousand twice over.
pub(crate) const RECORDS: Bounds<Count> = count(1, 2_000, 100_000);
/// Mails that one event may send.
pub(crate) const MAILS: Bounds<Count> = count(1, 10, 1_000);
/// Requests that one event may make.
pub(crate) const REQUESTS: Bounds<Count> = count(1, 10, 1_000);
/// The body of a request or of its answer, which is held in memory.
pub(crate) const HTTP_BODY: Bounds<Size> =
    Bounds { least: Size(1), default: Size(1 << 20), most: Size(64 << 20) };
/// Values of the configuration that one component may ask for.
pub(crate) const CONFIG_VALUES_MAX: usize = 100;
/// One of them, in bytes.
pub(crate) const CONFIG_VALUE_BYTES_MAX: usize = 64 * 1024;
/// Linear memory of an instance. A component in any language needs about one mebibyte to begin with.
pub(crate) const MEMORY: Bounds<Size> = mebibytes(1, 64, 1_024);
/// Elements of an instance's tables: the functions that it may call indirectly.
pub(crate) const TABLE_ELEMENTS: Bounds<Count> = count(1, 20_000, 1_000_000);
/// A component's own time for one event.
pub(crate) const TIME: Bounds<Time> = milliseconds(1, 1_000, 300_000);
/// One host call.
pub(crate) const HOST_CALL: Bounds<Time> = milliseconds(1, 10_000, 300_000);
/// Runs of a handler at once.
pub(crate) const CONCURRENCY: Bounds<Count> = count(1, 64, 1_000);
/// Events in one run.
pub(crate) const RUN_EVENTS: Bounds<Count> = count(1, 100, 1_000);
/// A run's time.
pub(crate) const SLICE: Bounds<Time> = milliseconds(1, 50, 60_000);
/// A run that is out longer is reported.
pub(crate) const STUCK_AFTER: Bounds<Time> = milliseconds(1_000, 60_000, 3_600_000);
