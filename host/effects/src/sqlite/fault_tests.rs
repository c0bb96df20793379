//! What SQLite says of itself, and what it says of a statement.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use sqlx::error::{DatabaseError, ErrorKind};

use super::*;

/// An error as SQLite's driver gives it.
#[derive(Debug)]
struct Coded(u32);

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "code {}", self.0)
    }
}

impl Error for Coded {}

impl DatabaseError for Coded {
    fn message(&self) -> &'static str {
        "said"
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.to_string().into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

fn coded(code: u32) -> Fault {
    explain(&sqlx::Error::Database(Box::new(Coded(code))))
}

/// Memory is the whole process's, so that whoever finds none has seldom taken it.
#[test]
fn memory_that_is_used_up_is_nobodys_fault() {
    const NO_MEMORY: u32 = 7;
    const NO_MEMORY_FOR_A_PAGE: u32 = 7 | 3 << 8;
    for code in [NO_MEMORY, NO_MEMORY_FOR_A_PAGE] {
        assert!(coded(code).host("url").can_retry());
        let step = coded(code).step("url");
        assert!(matches!(&step, StepError::Database(crate::DatabaseError::Unable { .. })), "{step:?}");
        let guest = coded(code).guest();
        assert!(matches!(guest, StatementError::Unavailable(_)), "{guest:?}");
    }
}

#[test]
fn a_value_that_is_too_long_is_the_statements_fault() {
    const TOO_BIG: u32 = 18;
    let step = coded(TOO_BIG).step("url");
    assert!(matches!(step, StepError::Statement(StatementError::Limit(_))), "{step:?}");
    assert!(!coded(TOO_BIG).host("url").can_retry());
}
