//! From what a guest wants to send to a letter: checked, with a Message-ID that a repeat makes again.

use keylane_effects::Letter;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use sha2::{Digest as _, Sha256};

use crate::bindings::keylane::handler::mail::{Error, Message};

/// The longest Message-ID before the `@`, in bytes; a mail's line and a file's name must hold it.
const ID_BYTES_MAX: usize = 200;

/// Checks what a guest wants to send and makes the letter of it. The Message-ID is made from the handler
/// and the identity, so that two handlers that announce the same fact do not swallow each other's mail.
pub(crate) fn letter(
    handler: &str,
    from: &Mailbox,
    identity: &str,
    message: &Message,
) -> Result<Letter, Error> {
    let refused = |said: String| Error::Refused(said);
    for (name, text) in [("to", &message.to), ("subject", &message.subject)] {
        if text.chars().any(char::is_control) {
            return Err(refused(format!("{name} holds a control character")));
        }
    }
    let to: Mailbox = message
        .to
        .parse()
        .map_err(|error: lettre::address::AddressError| refused(format!("{:?}: {error}", message.to)))?;
    let id = shortened(format!("{}.{}", escape(handler), escape(identity)));
    let message_id = format!("{id}@{}", from.email.domain());
    let recipient = to.email.to_string();
    let mail = lettre::Message::builder()
        .from(from.clone())
        .to(to)
        .subject(message.subject.clone())
        .message_id(Some(format!("<{message_id}>")))
        .header(ContentType::TEXT_PLAIN)
        .body(message.body.clone())
        .map_err(|error| refused(error.to_string()))?;
    let from = from.email.to_string();
    Ok(Letter { message_id, from, to: vec![recipient], message: mail.formatted() })
}

/// The id itself, or, where it is too long, as much of it as fits with the digest of the whole, so that
/// different ids stay different and the same id stays the same.
fn shortened(id: String) -> String {
    if id.len() <= ID_BYTES_MAX {
        return id;
    }
    let digest = Sha256::digest(&id);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let kept = ID_BYTES_MAX - digest.len() - 1;
    let start = id.get(..kept).unwrap_or_default().trim_end_matches(['.', '=']);
    format!("{start}={digest}")
}

/// The text as letters, digits, `-`, `_` and single dots between them; every other byte as `=` and two
/// hexadecimal digits. Different texts stay different.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut bytes = text.bytes().peekable();
    let mut after_plain = false;
    while let Some(byte) = bytes.next() {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let dot = byte == b'.' && after_plain && bytes.peek().is_some_and(plain);
        if plain(&byte) || dot {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("={byte:02X}"));
        }
        after_plain = plain(&byte);
    }
    escaped
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
