//! What can go wrong: before a handler starts ([`CapabilityError`]) and at the end of an event
//! ([`EffectsError`]).

use std::path::PathBuf;

use keylane_engine::PublishError;

/// A handler cannot be given what it needs.
#[derive(Debug, thiserror::Error)]
pub enum CapabilityError {
    /// The component imports what its manifest does not grant.
    #[error(
        "the component of handler {handler:?} imports {import}, which its manifest does not grant; \
         write {grant} in the manifest, or build the component without this import"
    )]
    NotGranted {
        /// The handler's name.
        handler: String,
        /// The import as the component names it.
        import: String,
        /// What to write in the manifest.
        grant: &'static str,
    },
    /// The component imports what this host does not have.
    #[error(
        "the component of handler {handler:?} imports {import}, which this host does not offer; \
         it offers {offered} and the language runtime's part of WASI 0.2 (no sockets, no HTTP)"
    )]
    Unknown {
        /// The handler's name.
        handler: String,
        /// The import as the component names it.
        import: String,
        /// The interfaces of this host, separated by commas.
        offered: String,
    },
    /// The component imports another version of an interface.
    #[error(
        "the component of handler {handler:?} imports {import}, but this host has version {version} of \
         {interface}; build the component against that version"
    )]
    Version {
        /// The handler's name.
        handler: String,
        /// The import as the component names it.
        import: String,
        /// The interface.
        interface: &'static str,
        /// The version that the host has.
        version: &'static str,
    },
    /// More than one database is granted.
    #[error(
        "the manifest of handler {handler:?} grants {count} databases ({names}); a handler writes to one \
         database, because two cannot commit as one: keep one [grants.sql.NAME]"
    )]
    ManyDatabases {
        /// The handler's name.
        handler: String,
        /// How many.
        count: usize,
        /// Their names, separated by commas.
        names: String,
    },
    /// A granted database has no address.
    #[error(
        "the manifest of handler {handler:?} grants the database {grant:?}, but the host's configuration \
         gives it no address; name one for handler {handler:?}, database {grant:?}"
    )]
    NoDatabase {
        /// The handler's name.
        handler: String,
        /// The database's name in the manifest.
        grant: String,
    },
    /// Two handlers would share one database.
    #[error(
        "handlers {handler:?} and {other:?} are both given the database {url}; each handler needs a database \
         of its own"
    )]
    SharedDatabase {
        /// The handler being prepared.
        handler: String,
        /// The other handler.
        other: String,
        /// The database they share.
        url: String,
    },
    /// An address that no driver knows.
    #[error("the database address {url:?} cannot be used: {reason}")]
    DatabaseUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database cannot be opened.
    #[error("the database {url} cannot be opened: {reason}")]
    DatabaseOpen {
        /// Its address.
        url: String,
        /// What the driver says.
        reason: String,
        /// Whether another try can help.
        can_retry: bool,
    },
    /// A migration failed.
    #[error("the migration {file} failed on the database {url}: {reason}", file = file.display())]
    Migration {
        /// The migration's file, or their folder when the whole set is at fault.
        file: PathBuf,
        /// The database's address.
        url: String,
        /// What the driver says.
        reason: String,
    },
    /// Mail is granted, but the host cannot send any.
    #[error(
        "the manifest of handler {handler:?} grants mail, but the host's configuration names no way to send it"
    )]
    NoMailer {
        /// The handler's name.
        handler: String,
    },
    /// The sender is not an address.
    #[error(
        "the manifest of handler {handler:?} names the mail sender {from:?}, which is not an address: {reason}"
    )]
    MailSender {
        /// The handler's name.
        handler: String,
        /// The sender.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The way to send mail is not usable.
    #[error("mail cannot be sent through {place}: {reason}")]
    Mailer {
        /// The server or the folder.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl CapabilityError {
    /// Whether starting again without any change can help.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        matches!(self, Self::DatabaseOpen { can_retry: true, .. })
    }
}

/// An event's handler answered ok, but its effects did not become real, or not all of them.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EffectsError {
    /// A statement had failed, so its transaction was rolled back; nothing became real.
    #[error(
        "a statement on database {database:?} failed and the handler went on; all was rolled back: {reason}"
    )]
    Doomed {
        /// The database's name in the manifest.
        database: String,
        /// The first failure.
        reason: String,
    },
    /// The transaction could not be committed.
    #[error("the transaction on database {database:?} was not committed: {reason}")]
    Commit {
        /// The database's name in the manifest.
        database: String,
        /// What the database said.
        reason: String,
    },
    /// The transaction is committed, but a record was not acknowledged.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The transaction is committed and the records are acknowledged, but a mail was not accepted.
    #[error("the mail {message_id} was not accepted by {place}: {reason}")]
    Mail {
        /// Its Message-ID.
        message_id: String,
        /// The server or the folder.
        place: String,
        /// What it said.
        reason: String,
        /// Whether the same mail may be accepted later.
        can_retry: bool,
    },
}

impl EffectsError {
    /// Whether the same event may succeed later.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match self {
            Self::Doomed { .. } | Self::Commit { .. } => true,
            Self::Publish(error) => error.can_retry,
            Self::Mail { can_retry, .. } => *can_retry,
        }
    }
}
