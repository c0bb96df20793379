//! From the host file as it is written to the checked one: each handler's manifest is read, and what it is
//! granted is matched with what the host has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use keylane_deployment::{DeploymentError, Document, Manifest, name_problem};
use toml::Spanned;

use super::limits::Session;
use super::raw::{RawDatabase, RawHost, RawSynchronous};
use super::{Database, Handler, HostConfig, admin, kafka, letters, limits, mail};

pub(super) type Checked<T> = Result<T, DeploymentError>;

/// Databases as the file has them: by handler, then by the name of its grant.
type RawDatabases = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, RawDatabase>>;

/// Checks the whole file.
pub(super) fn host(document: &Document, raw: RawHost) -> Checked<HostConfig> {
    if let Some(problem) = name_problem(raw.fleet.get_ref()) {
        return Err(document.refuse(raw.fleet.span(), problem));
    }
    let session_at = raw.kafka.session_timeout.as_ref().map(Spanned::span);
    let kafka = kafka::kafka(document, raw.kafka)?;
    let session = Session { timeout: kafka.membership.session_timeout, span: session_at };
    let mail = raw.mail.map(|raw| mail::mail(document, raw)).transpose()?;
    let handlers_at = raw.handlers.span();
    let mut handlers = handlers(document, raw.handlers)?;
    letters::apart(document, &handlers_at, &handlers)?;
    databases(document, raw.databases, &mut handlers)?;
    for handler in &handlers {
        everything_granted_is_there(document, handler, mail.is_some())?;
        limits::runs_fit(document, handler, &session)?;
    }
    Ok(HostConfig {
        fleet: raw.fleet.into_inner(),
        kafka,
        handlers,
        mail,
        admin: admin::admin(document, raw.admin)?,
        limits: limits::limits(document, raw.limits, &session)?,
    })
}

/// Reads the manifests. Two handlers of one name would share a consumer group.
fn handlers(document: &Document, raw: Spanned<Vec<Spanned<PathBuf>>>) -> Checked<Vec<Handler>> {
    if raw.get_ref().is_empty() {
        return Err(document.refuse(raw.span(), "name at least one handler's manifest"));
    }
    let mut handlers: Vec<Handler> = Vec::new();
    for path in raw.into_inner() {
        let file = document.resolve(path.get_ref());
        if !file.is_file() {
            let problem = format!("no such manifest: {}", file.display());
            return Err(document
                .refuse(path.span(), problem)
                .with_hint(format!("paths are relative to the folder of {}", document.file().display())));
        }
        let manifest = Manifest::load(&file)?;
        if let Some(other) = handlers.iter().find(|other| other.manifest.name == manifest.name) {
            let problem =
                format!("{} and {} are both named {:?}", other.file.display(), file.display(), manifest.name);
            return Err(document.refuse(path.span(), problem).with_hint("give one of them another `name`"));
        }
        handlers.push(Handler { file, manifest, databases: BTreeMap::new() });
    }
    Ok(handlers)
}

/// Gives each handler its databases. A database that nobody is granted is a slip of the pen.
fn databases(document: &Document, raw: RawDatabases, handlers: &mut [Handler]) -> Checked<()> {
    let mut owners: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (name, grants) in raw {
        let known = handlers.iter().map(|handler| handler.manifest.name.clone()).collect();
        let Some(handler) = handlers.iter_mut().find(|handler| handler.manifest.name == *name.get_ref())
        else {
            return Err(document.unknown_key(name.span(), name.get_ref(), known));
        };
        for (grant, raw) in grants {
            if !handler.manifest.grants.sql.contains_key(grant.get_ref()) {
                let known = handler.manifest.grants.sql.keys().cloned().collect();
                return Err(document.unknown_key(grant.span(), grant.get_ref(), known));
            }
            let span = raw.url.span();
            let database = database(document, raw)?;
            if let Some(other) = owners.insert(database.file.clone(), name.get_ref().clone()) {
                let problem = format!("handler {other:?} has this database already");
                return Err(document.refuse(span, problem).with_hint("give each handler a file of its own"));
            }
            handler.databases.insert(grant.into_inner(), database);
        }
    }
    Ok(())
}

fn database(document: &Document, raw: RawDatabase) -> Checked<Database> {
    let url = raw.url.get_ref();
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(Database {
            file: document.resolve(Path::new(path)),
            every_commit_to_disk: raw.synchronous != Some(RawSynchronous::Normal),
        }),
        _ => Err(document
            .refuse(raw.url.span(), format!("{url:?} is not a database that this version of keylane knows"))
            .with_hint("write \"sqlite://\" and the path of a file, as in \"sqlite://data/ledger.db\"")),
    }
}

/// A grant without the thing behind it would fail at the first event; here it fails before the start.
fn everything_granted_is_there(document: &Document, handler: &Handler, mail: bool) -> Checked<()> {
    let Handler { file, manifest, databases } = handler;
    if let Some(grant) = manifest.grants.sql.keys().find(|grant| !databases.contains_key(*grant)) {
        let problem = format!("no database for the grant `sql.{grant}` of {}", file.display());
        let hint = format!("add [databases.{}.{grant}] with url = \"sqlite://FILE\"", manifest.name);
        return Err(document.refuse_file(problem).with_hint(hint));
    }
    if manifest.grants.mail.is_some() && !mail {
        let problem = format!("no way to send mail, which {} grants", file.display());
        return Err(document
            .refuse_file(problem)
            .with_hint("add [mail] with a folder, or [mail.smtp] with a host"));
    }
    Ok(())
}
