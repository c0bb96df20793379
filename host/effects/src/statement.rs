//! A statement that a driver has checked, and the limits that it was checked against. What may stand in its
//! text is each driver's own to say, since each database reads a text its own way.

use std::sync::Arc;
use std::time::Duration;

use crate::error::StatementError;
use crate::value::Value;

/// How much longer than its deadline a late statement is awaited: it is stopped, and answers that, or its connection is
/// given up. Either way it is late.
pub const LATE_GRACE: Duration = Duration::from_secs(2);

/// Bounds on one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementLimits {
    /// Its text, in bytes.
    pub text_bytes: usize,
    /// Its parameters.
    pub parameters: usize,
    /// Its parameters together, in bytes.
    pub parameter_bytes: usize,
}

impl Default for StatementLimits {
    fn default() -> Self {
        Self { text_bytes: 64 * 1024, parameters: 1_000, parameter_bytes: 4 * 1024 * 1024 }
    }
}

impl StatementLimits {
    /// Checks what is the same on every database: lengths and numbers.
    ///
    /// # Errors
    /// `Limit`, with what is passed.
    pub fn check(&self, text: &str, parameters: &[Value]) -> Result<(), StatementError> {
        if text.len() > self.text_bytes {
            return Err(over("the statement's text", text.len(), self.text_bytes, "bytes"));
        }
        if parameters.len() > self.parameters {
            return Err(over("the statement", parameters.len(), self.parameters, "parameters"));
        }
        let bytes = parameters.iter().map(Value::size_bytes).fold(0, usize::saturating_add);
        if bytes > self.parameter_bytes {
            return Err(over("all parameters together", bytes, self.parameter_bytes, "bytes"));
        }
        Ok(())
    }
}

fn over(what: &str, has: usize, allowed: usize, unit: &str) -> StatementError {
    StatementError::Limit(format!("{what}: {has} {unit}, {allowed} are allowed"))
}

/// A guest's statement that [`crate::Database::check`] let through. Only a driver can make one.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The text to run.
    pub(crate) text: Arc<str>,
    /// Whether it changes rows, so that the database's count of changes is its own.
    pub(crate) changes: bool,
}
