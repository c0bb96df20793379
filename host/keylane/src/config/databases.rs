//! `[databases.HANDLER.GRANT]`: the real database behind each grant, and how hard it is used.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use keylane_deployment::{Access, Bounds, Count, Document, Isolation, Time};
use toml::Spanned;

use super::Handler;
use super::address::{Address, KNOWN, address};
use super::check::Checked;
use super::limits::Session;
use super::raw::{RawDatabase, RawSynchronous};
use super::secret::{Secret, secret};

/// Connections that write, each for one run.
const WRITE_CONNECTIONS: Bounds<Count> = Bounds { least: Count(1), default: Count(8), most: Count(1_000) };
/// Connections that only read.
const READ_CONNECTIONS: Bounds<Count> = Bounds { least: Count(1), default: Count(4), most: Count(1_000) };
/// How long a run's session may be idle between two statements before PostgreSQL ends it: a host that was
/// stopped so lets go of its locks. By default this long, or half of the group's session if that is shorter.
const IDLE_IN_TRANSACTION: Bounds<Time> =
    Bounds { least: Time { ms: 100 }, default: Time { ms: 20_000 }, most: Time { ms: 1_800_000 } };
/// Databases as the file has them: by handler, then by the name of its grant.
type RawDatabases = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, RawDatabase>>;

/// A database of a handler.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    /// What the handler may do there.
    pub(crate) access: Access,
    /// Where runs write. A grant that only reads needs none.
    pub(crate) write: Option<Address>,
    /// Where is read without a run; where runs write, if there is none.
    pub(crate) read: Option<Address>,
    /// How runs are kept apart.
    pub(crate) isolation: Isolation,
    /// Whether every commit is pressed to the disk before it counts (`full`, the default), or a power
    /// cut may take the last ones back (`normal`).
    pub(crate) every_commit_to_disk: bool,
    /// The most connections that write; 8 by default, and 1 with SQLite.
    pub(crate) write_connections: u32,
    /// The most connections that only read; 4 by default.
    pub(crate) read_connections: u32,
    /// How long a run's session may be idle between two statements before PostgreSQL ends it; 20 s by
    /// default, or half of the group's session if that is shorter.
    pub(crate) idle_in_transaction: Duration,
    /// Where the file says so.
    pub(super) idle_at: Option<Range<usize>>,
    /// The password of the user that the addresses name.
    pub(crate) password: Option<Secret>,
}

/// Gives each handler its databases. A database that nobody is granted is a slip of the pen.
pub(super) fn databases(
    document: &Document,
    raw: RawDatabases,
    handlers: &mut [Handler],
    session: &Session,
) -> Checked<()> {
    let mut owners: BTreeMap<Address, String> = BTreeMap::new();
    for (name, grants) in raw {
        let known = handlers.iter().map(|handler| handler.manifest.name.clone()).collect();
        let Some(handler) = handlers.iter_mut().find(|handler| handler.manifest.name == *name.get_ref())
        else {
            return Err(document.unknown_key(name.span(), name.get_ref(), known));
        };
        for (grant, raw) in grants {
            let granted = &handler.manifest.grants.sql;
            let Some(granted) = granted.get(grant.get_ref()) else {
                let known = granted.keys().cloned().collect();
                return Err(document.unknown_key(grant.span(), grant.get_ref(), known));
            };
            let written_at = raw.write.as_ref().map(Spanned::span);
            let database = match granted.access {
                Access::Write => written(document, raw, grant.span(), granted.isolation, session)?,
                Access::Read => read_only(document, raw, grant.span())?,
            };
            if let (Access::Write, Some(address), Some(span)) =
                (granted.access, database.write.clone(), written_at)
                && let Some(other) = owners.insert(address, name.get_ref().clone())
            {
                let problem = format!("handler {other:?} has this database already");
                let hint = "give each handler a database of its own, or let one of them only read";
                return Err(document.refuse(span, problem).with_hint(hint));
            }
            handler.databases.insert(grant.into_inner(), database);
        }
    }
    Ok(())
}

/// A database that runs write to.
fn written(
    document: &Document,
    raw: RawDatabase,
    grant: Range<usize>,
    least: Isolation,
    session: &Session,
) -> Checked<Database> {
    let Some(write) = &raw.write else {
        let problem = "the handler writes here, so `write` says where";
        return Err(document.refuse(grant, problem).with_hint(KNOWN));
    };
    let at = write.span();
    let write = address(document, write)?;
    let sqlite = matches!(write, Address::Sqlite(_));
    let read = raw.read.as_ref().map(|read| address(document, read)).transpose()?;
    if let (Some(read), Some(span)) = (&read, raw.read.as_ref().map(Spanned::span))
        && matches!(read, Address::Sqlite(_)) != sqlite
    {
        let problem = "`write` and `read` are two kinds of database, but should be one and its replica";
        return Err(document.refuse(span, problem));
    }
    if sqlite {
        server_only(document, &raw)?;
    }
    let idle_at = raw.idle_in_transaction.as_ref().map(Spanned::span);
    let connections = connections(document, raw.write_connections, WRITE_CONNECTIONS)?;
    Ok(Database {
        access: Access::Write,
        isolation: isolation(document, raw.isolation, least, sqlite)?,
        every_commit_to_disk: to_disk(document, raw.synchronous, sqlite)?,
        write_connections: if sqlite { 1 } else { connections },
        read_connections: self::connections(document, raw.read_connections, READ_CONNECTIONS)?,
        idle_in_transaction: idle(document, raw.idle_in_transaction, session)?,
        idle_at,
        password: password(document, &write, at, raw.password_env, raw.password_file)?,
        write: Some(write),
        read,
    })
}

/// A database that is only read.
fn read_only(document: &Document, raw: RawDatabase, grant: Range<usize>) -> Checked<Database> {
    let of_a_writer = [
        ("isolation", raw.isolation.as_ref().map(Spanned::span)),
        ("synchronous", raw.synchronous.as_ref().map(Spanned::span)),
        ("write-connections", raw.write_connections.as_ref().map(Spanned::span)),
        ("idle-in-transaction", raw.idle_in_transaction.as_ref().map(Spanned::span)),
        ("write", raw.write.as_ref().map(Spanned::span)),
    ];
    for (key, span) in of_a_writer {
        let Some(span) = span else { continue };
        let problem = format!("the handler only reads here, and `{key}` is for a database that it writes to");
        let hint = format!("write `read` for its address, and leave `{key}` out");
        return Err(document.refuse(span, problem).with_hint(hint));
    }
    let Some(read) = &raw.read else {
        let problem = "the handler reads here, so `read` says where";
        return Err(document.refuse(grant, problem).with_hint(KNOWN));
    };
    let at = read.span();
    let read = address(document, read)?;
    Ok(Database {
        access: Access::Read,
        write: None,
        isolation: Isolation::Serializable,
        every_commit_to_disk: true,
        write_connections: 1,
        read_connections: connections(document, raw.read_connections, READ_CONNECTIONS)?,
        idle_in_transaction: IDLE_IN_TRANSACTION.default.duration(),
        idle_at: None,
        password: password(document, &read, at, raw.password_env, raw.password_file)?,
        read: Some(read),
    })
}

/// What a file does not have.
fn server_only(document: &Document, raw: &RawDatabase) -> Checked<()> {
    let connections = raw.write_connections.as_ref().map(Spanned::span);
    let idle = raw.idle_in_transaction.as_ref().map(Spanned::span);
    let (span, problem, key) = match (connections, idle) {
        (Some(span), _) => (span, "SQLite has one connection that writes", "write-connections"),
        (None, Some(span)) => {
            (span, "SQLite has no server that could end an idle session", "idle-in-transaction")
        }
        (None, None) => return Ok(()),
    };
    Err(document.refuse(span, problem).with_hint(format!("leave `{key}` out")))
}

fn idle(document: &Document, given: Option<Spanned<Time>>, session: &Session) -> Checked<Duration> {
    let half = Time { ms: u64::try_from((session.timeout / 2).as_millis()).unwrap_or(u64::MAX) };
    let default = IDLE_IN_TRANSACTION.default.min(half);
    let idle = Bounds { default, ..IDLE_IN_TRANSACTION }.check(document, given)?;
    Ok(idle.duration())
}

/// The component's author says how little will do; a host file may ask for more, not for less.
fn isolation(
    document: &Document,
    given: Option<Spanned<Isolation>>,
    least: Isolation,
    sqlite: bool,
) -> Checked<Isolation> {
    let Some(given) = given else { return Ok(if sqlite { Isolation::Serializable } else { least }) };
    let read_committed = *given.get_ref() == Isolation::ReadCommitted;
    if sqlite && read_committed {
        return Err(document
            .refuse(given.span(), "SQLite has one writer, so its runs are always serializable")
            .with_hint("leave `isolation` out"));
    }
    if *given.get_ref() < least {
        let problem = "the manifest asks for \"serializable\": whether less will do is for the component's author to say";
        return Err(document
            .refuse(given.span(), problem)
            .with_hint("leave `isolation` out, or write it into the manifest's grant"));
    }
    Ok(given.into_inner())
}

/// Whether each commit is pressed to the disk.
fn to_disk(document: &Document, given: Option<Spanned<RawSynchronous>>, sqlite: bool) -> Checked<bool> {
    let Some(given) = given else { return Ok(true) };
    let full = *given.get_ref() == RawSynchronous::Full;
    if !full && !sqlite {
        return Err(document
            .refuse(
                given.span(),
                "\"normal\" is for SQLite: on PostgreSQL each commit is pressed to the disk",
            )
            .with_hint("leave `synchronous` out"));
    }
    Ok(full)
}

fn connections(document: &Document, given: Option<Spanned<Count>>, bounds: Bounds<Count>) -> Checked<u32> {
    let count = bounds.check(document, given)?;
    Ok(u32::try_from(count.0).unwrap_or(u32::MAX))
}

/// The password of the user whom this address names.
fn password(
    document: &Document,
    address: &Address,
    at: Range<usize>,
    env: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
) -> Checked<Option<Secret>> {
    let Some(password) = secret(document, "password", env, file)? else { return Ok(None) };
    match address {
        Address::Sqlite(_) => Err(password.refuse("a SQLite file has no password")),
        Address::Postgres(url) if !url.contains('@') => {
            let problem = "a password needs a user, but the address names none";
            Err(document.refuse(at, problem).with_hint("write \"postgres://USER@HOST/NAME\""))
        }
        Address::Postgres(_) => Ok(Some(password)),
    }
}

impl Database {
    /// Where the host looks for it: where runs write, or else where is read.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.write.as_ref().or(self.read.as_ref())
    }

    /// How many runs can be in it at once.
    pub(crate) fn runs_max(&self) -> usize {
        usize::try_from(self.write_connections).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
