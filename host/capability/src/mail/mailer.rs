//! The two ways out for mails: a server that speaks SMTP, and a folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keylane_effects::{Handed, Letter, MailError, MailSender};
use keylane_engine::{Boxed, Counted};
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use tokio::sync::Semaphore;

use crate::error::CapabilityError;

/// Mails that are under way at once in one host. Others wait for their turn, in order of arrival.
const UNDER_WAY_MAX: usize = 8;

/// How long writing a file should take at most; nothing ends it, and a repeat writes the same file.
const FOLDER_TIME: Duration = Duration::from_secs(5);

/// How the connection to the server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// Not at all: for a server on the same machine.
    None,
    /// It begins in the clear and must turn to TLS before anything else (STARTTLS).
    StartTls,
    /// TLS from the first byte.
    Tls,
}

/// A server that takes mails.
#[derive(Clone)]
pub struct SmtpConfig {
    /// Its name or address.
    pub host: String,
    /// Its port: usually 25, 587 (STARTTLS) or 465 (TLS).
    pub port: u16,
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// User and password, if the server wants them.
    pub credentials: Option<(String, String)>,
    /// How long one mail may take.
    pub timeout: Duration,
}

impl std::fmt::Debug for SmtpConfig {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("timeout", &self.timeout)
            .finish()
    }
}

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
    Smtp { transport: AsyncSmtpTransport<Tokio1Executor>, timeout: Duration },
    Folder { path: PathBuf, written: AtomicU64 },
}

impl Mailer {
    /// Through a server. Nothing is connected yet.
    ///
    /// # Errors
    /// When the server's name cannot be used for TLS.
    pub fn smtp(config: &SmtpConfig) -> Result<Self, CapabilityError> {
        let place = format!("{}:{}", config.host, config.port);
        let parameters = || {
            TlsParameters::new(config.host.clone())
                .map_err(|error| CapabilityError::Mailer { place: place.clone(), reason: error.to_string() })
        };
        let tls = match config.security {
            SmtpSecurity::None => Tls::None,
            SmtpSecurity::StartTls => Tls::Required(parameters()?),
            SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls)
            .timeout(Some(config.timeout));
        let builder = match &config.credentials {
            Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.clone())),
            None => builder,
        };
        Ok(Self::new(Way::Smtp { transport: builder.build(), timeout: config.timeout }, place))
    }

    /// Into a folder, one file for each Message-ID, which is made if it is missing: for development.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn folder(path: &Path) -> Result<Self, CapabilityError> {
        let place = path.display().to_string();
        std::fs::create_dir_all(path)
            .map_err(|error| CapabilityError::Mailer { place: place.clone(), reason: error.to_string() })?;
        Ok(Self::new(Way::Folder { path: path.to_owned(), written: AtomicU64::new(0) }, place))
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
            Way::Smtp { transport, timeout } => send_smtp(transport, *timeout, letter).await,
            Way::Folder { path, written } => {
                let number = written.fetch_add(1, Ordering::Relaxed);
                write(path, number, letter).await.map_err(|error| (error.to_string(), false))
            }
        };
        sent.map_err(|(said, is_final)| MailError { reason: format!("{}: {said}", self.place), is_final })?;
        self.sent.increment(1);
        Ok(Handed::Taken)
    }
}

impl MailSender for Mailer {
    fn limit(&self) -> Duration {
        match &self.way {
            Way::Smtp { timeout, .. } => *timeout,
            Way::Folder { .. } => FOLDER_TIME,
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

/// The server's own timeout is for each of its answers; the outer one is for the whole mail. A failure says
/// whether the server would say the same again.
async fn send_smtp(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    timeout: Duration,
    letter: &Letter,
) -> Result<(), (String, bool)> {
    let envelope = envelope(letter).map_err(|said| (said, true))?;
    match tokio::time::timeout(timeout, transport.send_raw(&envelope, &letter.message)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err((error.to_string(), error.is_permanent())),
        Err(_) => Err((format!("no answer within {timeout:?}"), false)),
    }
}

fn envelope(letter: &Letter) -> Result<Envelope, String> {
    let address = |text: &String| text.parse::<Address>().map_err(|error| format!("{text:?}: {error}"));
    let to = letter.to.iter().map(address).collect::<Result<_, _>>()?;
    Envelope::new(Some(address(&letter.from)?), to).map_err(|error| error.to_string())
}

/// Writes under another name first, so that a file is whole as soon as it can be seen.
async fn write(folder: &Path, number: u64, letter: &Letter) -> std::io::Result<()> {
    let unfinished = folder.join(format!(".{number}.unfinished"));
    tokio::fs::write(&unfinished, &letter.message).await?;
    tokio::fs::rename(&unfinished, folder.join(format!("{}.eml", file_name(&letter.message_id)))).await
}

/// What stands before the `@` of a Message-ID of ours is a name that any file system takes; of another it
/// is made one.
fn file_name(message_id: &str) -> String {
    let name = message_id.split('@').next().unwrap_or_default();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=.".contains(character);
    name.chars().map(|character| if plain(character) { character } else { '_' }).collect()
}
