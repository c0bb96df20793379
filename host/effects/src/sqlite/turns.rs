//! Turns among the processes that write one file.
//!
//! SQLite lets whoever asks first have the writer, and whoever finds it taken looks again now and then. A host
//! that begins its next transaction as soon as the last one has ended would leave the others the chance of
//! that short moment alone. So whoever wants the writer first locks a file beside the database, waits for the
//! writer with that lock, and lets go of it once it has the writer: a busy host waits behind whoever waits.
//!
//! A courtesy, on which nothing rests: a turn that does not come in time is passed over.
//!
//! Who owns: the process that waits for the writer. Who waits: the others, one task of each, since the task that
//! asks holds its host's own lock of the writer. Who wakes: nobody, they look again. What bounds: [`TURN_MAX`].

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a turn is waited for.
const TURN_MAX: Duration = Duration::from_secs(1);
/// How often it is looked for.
const LOOK: Duration = Duration::from_millis(2);
/// How long no turn is waited for after one that did not come: its owner is stopped.
const PASSED_OVER: Duration = Duration::from_secs(10);

/// The file beside the database.
pub(crate) struct Turns {
    /// None where it cannot be made: then nobody waits for a turn.
    file: Option<File>,
    /// Until when no turn is waited for.
    passed_over: Mutex<Option<Instant>>,
}

/// One turn, or none; over when it is dropped.
pub(crate) struct Turn<'a>(Option<&'a File>);

impl Turns {
    /// Beside this file, which need not be there yet.
    pub(crate) async fn beside(database: &Path) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push("-turn");
        let mut options = tokio::fs::OpenOptions::new();
        let file = match options.write(true).create(true).truncate(false).open(&path).await {
            Ok(file) => Some(file.into_std().await),
            Err(error) => {
                tracing::warn!(path = %Path::new(&path).display(), %error, "hosts of one file take no turns");
                None
            }
        };
        Self { file, passed_over: Mutex::new(None) }
    }

    /// Waits for one's turn, for a while.
    pub(crate) async fn take(&self) -> Turn<'_> {
        let Some(file) = &self.file else { return Turn(None) };
        let asked = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Turn(Some(file)),
                Err(TryLockError::WouldBlock) if self.waits(asked) => tokio::time::sleep(LOOK).await,
                Err(_) => return Turn(None),
            }
        }
    }

    /// Whether to go on waiting since then.
    fn waits(&self, asked: Instant) -> bool {
        let mut passed_over = self.passed_over.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if passed_over.is_some_and(|until| now < until) {
            return false;
        }
        let late = now.duration_since(asked) >= TURN_MAX;
        *passed_over = late.then(|| now + PASSED_OVER);
        !late
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let freed = self.0.map(File::unlock);
        if let Some(Err(error)) = freed {
            tracing::warn!(%error, "a turn at a file could not be given up");
        }
    }
}
