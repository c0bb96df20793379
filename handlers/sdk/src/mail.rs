//! Mail. A mail is committed with its event in the database that the handler writes to, and sent from there.

use crate::bindings::keylane::handler::mail;
use crate::error::Error;

pub use crate::bindings::keylane::handler::mail::Message;

/// Hands a mail to the host.
///
/// # Errors
/// [`Error::MailRefused`] if the address is none, or it or the subject holds a control character, [`Error::Limit`] if the mail is too
/// large or one too many.
pub fn send(message: &Message) -> Result<(), Error> {
    Ok(mail::send(message)?)
}
