//! `keylane check`: says of each file whether a host could start with it, and starts nothing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use keylane_deployment::{Access, Document, Grants, Guarantee, Manifest, SqlGrant};

use crate::component;
use crate::config::HostConfig;
use crate::failure;

/// Checks all files, even after one that is wrong.
///
/// # Errors
/// When the findings cannot be written.
pub(crate) async fn run(
    files: &[PathBuf],
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for file in files {
        match examine(file).await {
            Ok(summary) => writeln!(out, "{}: ok, {summary}", file.display())?,
            Err(error) => code = failure::report(&error, err)?,
        }
    }
    Ok(code)
}

/// Checks one file, and what it names.
async fn examine(file: &Path) -> anyhow::Result<String> {
    let document = Document::read(file)?;
    if HostConfig::is_host_file(&document) {
        let config = HostConfig::from_document(&document)?;
        for handler in &config.handlers {
            component::check(&handler.manifest, &handler.file).await?;
        }
        return Ok(host_summary(&config));
    }
    let manifest = Manifest::from_document(&document)?;
    component::check(&manifest, file).await?;
    Ok(manifest_summary(&manifest))
}

fn host_summary(config: &HostConfig) -> String {
    let handlers: Vec<&str> = config.handlers.iter().map(|handler| handler.manifest.name.as_str()).collect();
    format!("fleet {} runs {}", config.fleet, handlers.join(", "))
}

fn manifest_summary(manifest: &Manifest) -> String {
    let topics = manifest.subscribe.topics.join(", ");
    let guarantee = match manifest.delivery.guarantee {
        Guarantee::ExactlyOnce => "exactly once",
        Guarantee::AtLeastOnce => "at least once",
    };
    let granted = granted(&manifest.grants);
    format!("handler {} reads {topics}, {guarantee}, and is granted {granted}", manifest.name)
}

/// The grants in words.
fn granted(grants: &Grants) -> String {
    let read_only = |grant: &SqlGrant| if grant.access == Access::Read { " to read" } else { "" };
    let databases = grants.sql.iter().map(|(name, grant)| format!("sql.{name}{}", read_only(grant)));
    let mut words: Vec<String> = databases.collect();
    words.extend(grants.producer.as_ref().map(|_| "producer".to_owned()));
    words.extend(grants.mail.as_ref().map(|_| "mail".to_owned()));
    words.extend(grants.keyvalue.as_ref().map(|_| "keyvalue".to_owned()));
    words.extend(grants.http.as_ref().map(|_| "http".to_owned()));
    words.extend(grants.config.as_ref().map(|_| "config".to_owned()));
    words.extend(grants.logging.as_ref().map(|_| "logging".to_owned()));
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}
