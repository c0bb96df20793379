//! What is logged, for tests of what is said.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// What this thread logs.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what this thread logs at this level and above, until the guard is dropped.
    #[must_use]
    pub fn keep(level: tracing::Level) -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_max_level(level).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that hold this.
    #[must_use]
    pub fn lines(&self, with: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.kept()).into_owned();
        text.lines().filter(|line| line.contains(with)).map(str::to_owned).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.kept().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
