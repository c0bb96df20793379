//! The address of a database, as a host file has it.

use std::path::{Path, PathBuf};

use keylane_deployment::Document;
use toml::Spanned;

use super::check::Checked;

/// How addresses are written.
pub(super) const KNOWN: &str = "write \"sqlite://FILE\" or \"postgres://USER@HOST/NAME\"";

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    /// A SQLite file, resolved against the host file's folder.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as its URL without a password.
    Postgres(String),
}

/// An address that a driver knows. It is not repeated in what is said of it: it may hold a password.
pub(super) fn address(document: &Document, given: &Spanned<String>) -> Checked<Address> {
    let url = given.get_ref();
    let refuse = |problem: &str, hint: &str| Err(document.refuse(given.span(), problem).with_hint(hint));
    if url.contains(char::is_control) {
        return refuse("an address holds no control characters", KNOWN);
    }
    if let Some(path) = url.strip_prefix("sqlite://") {
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return refuse(
                "this names no file: a handler's progress is kept in its database, so it must outlive the host",
                "write \"sqlite://\" and the path of a file, as in \"sqlite://data/ledger.db\"",
            );
        }
        return Ok(Address::Sqlite(document.resolve(Path::new(path))));
    }
    let Some(rest) = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme))
    else {
        return refuse("this is not the address of a database that keylane knows", KNOWN);
    };
    let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || has_password(name) {
        return refuse(
            "a password does not belong in this file",
            "name only the user, and add `password-env` or `password-file`",
        );
    }
    if authority.is_empty() || name.is_empty() || name.starts_with('?') {
        return refuse("the address names no host or no database", KNOWN);
    }
    Ok(Address::Postgres(url.clone()))
}

/// Whether the parameters behind a database's name hold a password.
fn has_password(name: &str) -> bool {
    let parameters = name.split_once('?').map_or("", |(_, parameters)| parameters);
    parameters.split('&').any(|parameter| parameter.starts_with("password="))
}
