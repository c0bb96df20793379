//! The two ways out for mails: a server that speaks SMTP, and a folder.

use std::path::Path;
use std::time::Duration;

use keylane_effects::{Handed, Letter, MailError, MailSender};
use keylane_engine::{Boxed, Counted};
use tokio::sync::Semaphore;

use super::folder::Folder;
use super::smtp::{Server, SmtpConfig};
use crate::error::CapabilityError;

/// Mails that are under way at once in one host. Others wait for their turn, in order of arrival.
const UNDER_WAY_MAX: usize = 8;

/// How long writing a file should take at most; nothing ends it, and a repeat writes the same file.
const FOLDER_TIME: Duration = Duration::from_secs(5);

/// Sends mails. A mail is accepted once or fails; a repeat carries the same Message-ID.
pub struct Mailer {
    way: Way,
    /// For messages: the server or the folder.
    place: String,
    turns: Semaphore,
    waiting: metrics::Gauge,
    under_way: metrics::Gauge,
    sent: metrics::Counter,
}

enum Way {
    Smtp(Server),
    Folder(Folder),
}

impl Mailer {
    /// Through a server. Nothing is connected yet.
    ///
    /// # Errors
    /// When the server's name cannot be used for TLS.
    pub fn smtp(config: &SmtpConfig) -> Result<Self, CapabilityError> {
        let place = format!("{}:{}", config.host, config.port);
        match Server::new(config) {
            Ok(server) => Ok(Self::new(Way::Smtp(server), place)),
            Err(error) => Err(CapabilityError::Mailer { place, reason: error.to_string() }),
        }
    }

    /// Into a folder, one file for each Message-ID, which is made if it is missing: for development.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn folder(path: &Path) -> Result<Self, CapabilityError> {
        let place = path.display().to_string();
        match Folder::new(path) {
            Ok(folder) => Ok(Self::new(Way::Folder(folder), place)),
            Err(error) => Err(CapabilityError::Mailer { place, reason: error.to_string() }),
        }
    }

    fn new(way: Way, place: String) -> Self {
        Self {
            way,
            place,
            turns: Semaphore::new(UNDER_WAY_MAX),
            waiting: metrics::gauge!("keylane_mails_waiting"),
            under_way: metrics::gauge!("keylane_mails_under_way"),
            sent: metrics::counter!("keylane_mails_sent_total"),
        }
    }

    async fn deliver(
        &self,
        letter: &Letter,
        may_begin: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Handed, MailError> {
        // The semaphore is never closed; if it were, the bound would be missing, not the mail.
        let waiting = Counted::new(&self.waiting);
        let _turn = self.turns.acquire().await;
        drop(waiting);
        if !may_begin() {
            return Ok(Handed::NotBegun);
        }
        let _under_way = Counted::new(&self.under_way);
        let sent = match &self.way {
            Way::Smtp(server) => server.send(letter).await,
            Way::Folder(folder) => folder.write(letter).await.map_err(|error| MailError {
                reason: error.to_string(),
                is_final: false,
                is_its_own: false,
            }),
        };
        sent.map_err(|error| MailError { reason: format!("{}: {}", self.place, error.reason), ..error })?;
        self.sent.increment(1);
        Ok(Handed::Taken)
    }
}

impl MailSender for Mailer {
    fn limit(&self) -> Duration {
        match &self.way {
            Way::Smtp(server) => server.timeout,
            Way::Folder(_) => FOLDER_TIME,
        }
    }

    fn send<'a>(
        &'a self,
        letter: Letter,
        may_begin: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Boxed<'a, Result<Handed, MailError>> {
        Box::pin(async move { self.deliver(&letter, may_begin).await })
    }
}
