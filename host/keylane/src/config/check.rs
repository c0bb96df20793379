//! From the host file as it is written to the checked one: each handler's manifest is read, and what it is
//! granted is matched with what the host has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keylane_deployment::{Access, DeploymentError, Document, Manifest, name_problem};
use toml::Spanned;

use super::limits::Session;
use super::raw::RawHost;
use super::{Handler, HostConfig, admin, databases, kafka, letters, limits, mail, values};

pub(super) type Checked<T> = Result<T, DeploymentError>;

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
    databases::databases(document, raw.databases, &mut handlers, &session)?;
    values::values(document, raw.config, &mut handlers)?;
    for handler in &handlers {
        everything_granted_is_there(document, handler, mail.is_some())?;
        limits::runs_fit(document, handler, &session)?;
        limits::transactions_fit(document, handler, &session)?;
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
        handlers.push(Handler { file, manifest, databases: BTreeMap::new(), values: BTreeMap::new() });
    }
    Ok(handlers)
}

/// A grant without the thing behind it would fail at the first event; here it fails before the start.
fn everything_granted_is_there(document: &Document, handler: &Handler, mail: bool) -> Checked<()> {
    let Handler { file, manifest, databases, values: _ } = handler;
    let missing = manifest.grants.sql.iter().find(|(grant, _)| !databases.contains_key(*grant));
    if let Some((grant, granted)) = missing {
        let problem = format!("no database for the grant `sql.{grant}` of {}", file.display());
        let key = if granted.access == Access::Write { "write" } else { "read" };
        let hint = format!("add [databases.{}.{grant}] with {key} = \"sqlite://FILE\"", manifest.name);
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
