//! The way of mails to a server that speaks SMTP: one connection for each mail.
//!
//! The steps of a mail are spoken here and not by lettre's transport, which waits for the answer to its
//! goodbye before it tells what became of the mail: a server's yes would be lost where nobody answers that.

use std::time::Duration;

use futures::FutureExt as _;
use keylane_effects::{Letter, MailError};
use lettre::Address;
use lettre::address::Envelope;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Category;

/// What a server answers, of whatever mail, to one who is not logged in as it wants: RFC 4954, section 6, and
/// RFC 3207, section 4.
const WANTS_ANOTHER_LOGIN: [u16; 4] = [530, 534, 535, 538];

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

/// A server, as it is spoken to.
pub(super) struct Server {
    host: String,
    port: u16,
    /// For TLS from the first byte.
    tls: Option<TlsParameters>,
    /// For TLS after a beginning in the clear, without which nothing else is said.
    starttls: Option<TlsParameters>,
    credentials: Option<Credentials>,
    /// How long one mail may take.
    pub timeout: Duration,
}

impl Server {
    /// Nothing is connected yet.
    pub fn new(config: &SmtpConfig) -> Result<Self, Error> {
        let parameters = || TlsParameters::new(config.host.clone());
        let (tls, starttls) = match config.security {
            SmtpSecurity::None => (None, None),
            SmtpSecurity::StartTls => (None, Some(parameters()?)),
            SmtpSecurity::Tls => (Some(parameters()?), None),
        };
        let credentials = config.credentials.clone().map(Credentials::from);
        let (host, port, timeout) = (config.host.clone(), config.port, config.timeout);
        Ok(Self { host, port, tls, starttls, credentials, timeout })
    }

    /// Sends one mail. It is final where the server, or we in its place, would say the same again.
    pub async fn send(&self, letter: &Letter) -> Result<(), MailError> {
        let envelope = envelope(letter).map_err(never)?;
        match tokio::time::timeout(self.timeout, self.hand_over(&envelope, &letter.message)).await {
            Ok(answer) => answer,
            Err(_) => Err(later(format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn hand_over(&self, envelope: &Envelope, message: &[u8]) -> Result<(), MailError> {
        // What is refused before a mail is spoken of is no mail: it is the server's or our own trouble.
        let mut connection = self.connection().await.map_err(|error| later(error.to_string()))?;
        let answer = speak(&mut connection, envelope, message).await;
        // Polled once, the goodbye is tried and its answer not waited for: it would say nothing of the mail.
        let _left = connection.abort().now_or_never();
        answer
    }

    /// A connection on which the next thing to be said is a mail.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        let (place, hello_name) = ((self.host.as_str(), self.port), ClientId::default());
        let (limit, tls) = (Some(self.timeout), self.tls.clone());
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(place, limit, &hello_name, tls, None).await?;
        if let Some(parameters) = &self.starttls {
            connection.starttls(parameters.clone(), &hello_name).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

/// Hands a mail over: what is answered here is about this mail.
async fn speak(
    connection: &mut AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
) -> Result<(), MailError> {
    let parameters = parameters(connection, envelope, message)?;
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await.map_err(refused)?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(not_for_them)?;
    }
    connection.command(Data).await.map_err(refused)?;
    connection.message(message).await.map_err(refused)?;
    Ok(())
}

/// What the server must be told for a mail that is not all ASCII. One that does not know of this can never be
/// given the mail.
fn parameters(
    connection: &AsyncSmtpConnection,
    envelope: &Envelope,
    message: &[u8],
) -> Result<Vec<MailParameter>, MailError> {
    let plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let needs = [
        (
            !envelope.from().into_iter().chain(envelope.to()).all(plain),
            Extension::SmtpUtfEight,
            MailParameter::SmtpUtfEight,
            "an address is not ASCII, and the server does not know SMTPUTF8",
        ),
        (
            !message.is_ascii(),
            Extension::EightBitMime,
            MailParameter::Body(MailBodyParameter::EightBitMime),
            "the mail is not ASCII, and the server does not know 8BITMIME",
        ),
    ];
    let mut parameters = Vec::new();
    for (is_needed, extension, parameter, missing) in needs {
        if is_needed && !connection.server_info().supports_feature(extension) {
            return Err(never(missing.to_owned()));
        }
        parameters.extend(is_needed.then_some(parameter));
    }
    Ok(parameters)
}

fn envelope(letter: &Letter) -> Result<Envelope, String> {
    let address = |text: &String| text.parse::<Address>().map_err(|error| format!("{text:?}: {error}"));
    let to = letter.to.iter().map(address).collect::<Result<_, _>>()?;
    Envelope::new(Some(address(&letter.from)?), to).map_err(|error| error.to_string())
}

/// What is refused for now, its disk being full for one, the server may refuse to everybody.
fn refused(error: Error) -> MailError {
    let is_final = error.is_permanent() && !is_about_us(&error);
    MailError { reason: error.to_string(), is_final, is_its_own: is_final }
}

/// What it says of one recipient it need not say of others, unless it takes its leave.
fn not_for_them(error: Error) -> MailError {
    let is_about_them = error.status().is_some_and(|code| code.category != Category::Connections);
    MailError { is_its_own: is_about_them && !is_about_us(&error), ..refused(error) }
}

/// Whether the server wants a login, another one, or TLS, before it looks at any mail.
fn is_about_us(error: &Error) -> bool {
    error.status().is_some_and(|code| WANTS_ANOTHER_LOGIN.contains(&u16::from(code)))
}

fn never(reason: String) -> MailError {
    MailError { reason, is_final: true, is_its_own: true }
}

fn later(reason: String) -> MailError {
    MailError { reason, is_final: false, is_its_own: false }
}
