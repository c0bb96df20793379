//! `[mail]`: how mail leaves.

use std::path::PathBuf;

use keylane_deployment::{Bounds, Count, Document};
use toml::Spanned;

use super::check::Checked;
use super::raw::{RawMail, RawSmtp, RawTls};
use super::secret::{Secret, secret};

/// How mail leaves.
#[derive(Debug, Clone)]
pub(crate) enum Mail {
    /// Each mail becomes an `.eml` file in this folder.
    Folder(PathBuf),
    /// Each mail goes to this server.
    Smtp(Smtp),
}

/// A mail server.
#[derive(Debug, Clone)]
pub(crate) struct Smtp {
    /// Its name or address.
    pub(crate) host: String,
    /// Its port; 465, 587 or 25 by default, as `tls` has it.
    pub(crate) port: u16,
    /// How the connection is encrypted; `starttls` by default.
    pub(crate) tls: Tls,
    /// Whom to log in as; nobody by default.
    pub(crate) login: Option<Login>,
}

/// How the connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// From the first byte on.
    Implicit,
    /// After a greeting in the clear; refused if the server cannot.
    Starttls,
    /// Not at all: for a server on this machine.
    None,
}

/// A user of a mail server.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    /// The user's name.
    pub(crate) user: String,
    /// Where the password comes from.
    pub(crate) password: Secret,
}

/// Checks `[mail]`.
pub(super) fn mail(document: &Document, raw: Spanned<RawMail>) -> Checked<Mail> {
    let span = raw.span();
    match raw.into_inner() {
        RawMail { folder: Some(folder), smtp: None } => Ok(Mail::Folder(document.resolve(&folder))),
        RawMail { folder: None, smtp: Some(smtp) } => Ok(Mail::Smtp(server(document, smtp)?)),
        _ => Err(document
            .refuse(span, "say one way for mail to leave")
            .with_hint("write `folder` for .eml files, or [mail.smtp] for a server")),
    }
}

fn server(document: &Document, raw: RawSmtp) -> Checked<Smtp> {
    if raw.host.get_ref().is_empty() {
        return Err(document.refuse(raw.host.span(), "name the mail server's host"));
    }
    let (tls, usual_port) = match raw.tls {
        Some(RawTls::Implicit) => (Tls::Implicit, 465),
        Some(RawTls::Starttls) | None => (Tls::Starttls, 587),
        Some(RawTls::None) => (Tls::None, 25),
    };
    let ports = Bounds { least: Count(1), default: Count(usual_port), most: Count(i64::from(u16::MAX)) };
    let port = u16::try_from(ports.check(document, raw.port)?.0).unwrap_or(u16::MAX);
    let password = secret(document, "password", raw.password_env, raw.password_file)?;
    let login = match (raw.user, password) {
        (Some(user), Some(password)) => Some(Login { user: user.into_inner(), password }),
        (None, None) => None,
        (Some(user), None) => {
            let refused = document.refuse(user.span(), "a user needs a password");
            return Err(refused.with_hint("add `password-env` or `password-file`"));
        }
        (None, Some(password)) => return Err(password.refuse("a password needs a `user`")),
    };
    Ok(Smtp { host: raw.host.into_inner(), port, tls, login })
}
