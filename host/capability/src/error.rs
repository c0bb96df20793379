//! What can go wrong: before a handler starts ([`CapabilityError`]) and at the end of an event
//! ([`EffectsError`]).

use keylane_effects::DatabaseError;
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
         it offers {offered} and the language runtime's part of WASI 0.2 (no sockets)"
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
    /// More than one database is granted for writing.
    #[error(
        "the manifest of handler {handler:?} grants {count} databases for writing ({names}); a handler writes \
         to one database, because two cannot commit as one: keep access = \"write\" in one [grants.sql.NAME]"
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
        "handler {handler:?} as {grant:?} and handler {other:?} as {other_grant:?} both write to the same database; \
         a handler writes to a database of its own"
    )]
    SharedDatabase {
        /// The handler being prepared.
        handler: String,
        /// The database's name in its manifest.
        grant: String,
        /// The other handler.
        other: String,
        /// The database's name in the other's manifest.
        other_grant: String,
    },
    /// A database does not answer, or a migration of the handler failed there.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Mail is granted without a database that holds mails until they are sent.
    #[error(
        "the manifest of handler {handler:?} grants mail, but no database to write to; a mail is committed with \
         its event and sent from there: add a [grants.sql.NAME] with access = \"write\""
    )]
    MailNeedsDatabase {
        /// The handler's name.
        handler: String,
    },
    /// Values by key are granted without a database to keep them in.
    #[error(
        "the manifest of handler {handler:?} grants values by key, but no database to write to, where they are \
         kept: add a [grants.sql.NAME] with access = \"write\""
    )]
    KeyValueNeedsDatabase {
        /// The handler's name.
        handler: String,
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
        matches!(self, Self::Database(error) if error.can_retry())
    }
}

/// An event's handler answered ok, but its effects did not become real, or not all of them; or they cannot, whatever
/// it answered ([`Self::Away`]).
#[derive(Debug, Clone, thiserror::Error)]
pub enum EffectsError {
    /// A statement had failed, so nothing of the event becomes real.
    #[error("a statement on database {database:?} failed and the handler went on; all is undone: {reason}")]
    Doomed {
        /// The database's name in the manifest.
        database: String,
        /// The first failure.
        reason: String,
    },
    /// A database that the handler only reads was not to be had, so nothing of the event becomes real. Nobody's
    /// fault.
    #[error("the database {database:?} could not be read; all of the event is undone: {reason}")]
    Away {
        /// The database's name in the manifest.
        database: String,
        /// What it said.
        reason: String,
    },
    /// Nobody knows what became of requests to other services.
    #[error("the handler answered ok while {requests} of its requests had no answer yet; it must await each")]
    Unanswered {
        /// How many.
        requests: usize,
    },
    /// A record was not acknowledged.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
