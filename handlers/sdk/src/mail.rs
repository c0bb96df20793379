//! Mail. A mail is held by the host and sent after the event's transaction is committed.

use crate::bindings::keylane::handler::mail;
use crate::error::Error;

pub use crate::bindings::keylane::handler::mail::Message;

/// Hands a mail to the host.
///
/// # Errors
/// [`Error::MailRefused`] if the address is none or not granted, [`Error::Limit`] if the mail is too
/// large or one too many.
pub fn send(message: &Message) -> Result<(), Error> {
    Ok(mail::send(message)?)
}
