//! Puts the handlers into the state folder, as an operator would put them on a machine, and writes the
//! host file that runs them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keylane_deployment::{DeploymentError, Manifest, Place};

use super::folder::StateFolder;

/// The handlers of the task exchange.
const HANDLERS: [&str; 3] = ["accounting", "email", "analytics"];
/// Where `make components` leaves what it builds, seen from the folder that holds the handlers' folder.
const BUILT: &str = "target/wasm32-wasip2/component";
const MANIFEST: &str = "handler.toml";

/// Copies each handler's manifest, component and migrations into the state folder.
///
/// # Errors
/// When one of them is missing or cannot be read.
pub(super) fn copy_handlers(handlers: &Path, folder: &StateFolder) -> anyhow::Result<Vec<Manifest>> {
    HANDLERS.iter().map(|handler| copy_handler(&handlers.join(handler), handlers, folder)).collect()
}

fn copy_handler(from: &Path, handlers: &Path, folder: &StateFolder) -> anyhow::Result<Manifest> {
    let file = from.join(MANIFEST);
    let manifest = Manifest::load(&file)?;
    let to = folder.join("handlers").join(&manifest.name);
    copy(&file, &to.join(MANIFEST))?;
    copy(&component(&file, &manifest, handlers)?, &to.join(&manifest.component))?;
    for migrations in manifest.grants.sql.values().filter_map(|grant| grant.migrations.as_ref()) {
        let source = from.join(migrations);
        let cannot = || format!("cannot look into {}", source.display());
        for entry in fs::read_dir(&source).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            copy(&entry.path(), &to.join(migrations).join(entry.file_name()))?;
        }
    }
    Ok(manifest)
}

/// The built component: where the manifest says, or else where the build left it.
fn component(file: &Path, manifest: &Manifest, handlers: &Path) -> Result<PathBuf, DeploymentError> {
    let beside = file.with_file_name("").join(&manifest.component);
    let built = handlers.with_file_name("").join(BUILT).join(&manifest.component);
    if let Some(found) = [&beside, &built].into_iter().find(|path| path.is_file()) {
        return Ok(found.clone());
    }
    Err(DeploymentError::Refused {
        place: Place { file: file.to_owned(), line: None, key: None },
        problem: format!("its component is not built: no file {}", built.display()),
        hint: Some("run `make components`, or `make demo`, which does both".to_owned()),
    })
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot copy {} to {}", from.display(), to.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(cannot)?;
    }
    fs::copy(from, to).map(drop).with_context(cannot)
}

/// The file of a handler's database, inside the state folder.
fn database_name(handler: &str) -> String {
    format!("{handler}.db")
}

/// Writes the host file and answers its path.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write_host_file(
    folder: &StateFolder,
    bootstrap: &str,
    manifests: &[Manifest],
) -> anyhow::Result<PathBuf> {
    let path = folder.join("keylane.toml");
    let text = host_file(bootstrap, manifests).context("cannot put the host file together")?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn host_file(bootstrap: &str, manifests: &[Manifest]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(
        text,
        "# Written by `keylane demo`. With the broker running, `keylane host` takes this file too."
    )?;
    writeln!(text, "fleet = \"demo\"\n\nhandlers = [")?;
    for manifest in manifests {
        writeln!(text, "    \"handlers/{}/{MANIFEST}\",", manifest.name)?;
    }
    writeln!(text, "]\n\n[kafka]\nbrokers = [\"{bootstrap}\"]\n")?;
    writeln!(
        text,
        "# synchronous = \"normal\" is for the demo only: it saves waiting for the disk at every"
    )?;
    writeln!(text, "# commit, and a power cut may take the last ones back.")?;
    for (manifest, grant) in manifests.iter().flat_map(|m| m.grants.sql.keys().map(move |grant| (m, grant))) {
        writeln!(text, "[databases.{}.{grant}]", manifest.name)?;
        let file = database_name(&manifest.name);
        writeln!(text, "write = \"sqlite://{file}\"\nread = \"sqlite://{file}\"")?;
        writeln!(text, "synchronous = \"normal\"\n")?;
    }
    writeln!(text, "[mail]\nfolder = \"{MAIL}\"\n")?;
    writeln!(text, "[admin]\nlisten = \"127.0.0.1:0\"")?;
    Ok(text)
}

/// The folder of mails, inside the state folder.
pub(super) const MAIL: &str = "mail";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Address, HostConfig, Mail};

    const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../handlers");

    /// A folder of handlers with the real manifests and migrations, and components that are only files.
    fn handlers(at: &Path, components: &Path) {
        for handler in HANDLERS {
            let from = Path::new(SOURCES).join(handler);
            copy(&from.join(MANIFEST), &at.join(handler).join(MANIFEST)).unwrap();
            for entry in fs::read_dir(from.join("migrations")).into_iter().flatten() {
                let entry = entry.unwrap();
                copy(&entry.path(), &at.join(handler).join("migrations").join(entry.file_name())).unwrap();
            }
            fs::create_dir_all(components).unwrap();
            fs::write(components.join(format!("{handler}.wasm")), "component").unwrap();
        }
    }

    #[test]
    fn what_is_written_is_a_host_file_that_the_daemon_takes() {
        let place = tempfile::tempdir().unwrap();
        handlers(&place.path().join("handlers"), &place.path().join(BUILT));
        let folder = StateFolder::afresh(&place.path().join("demo")).unwrap();
        let manifests = copy_handlers(&place.path().join("handlers"), &folder).unwrap();
        let file = write_host_file(&folder, "127.0.0.1:4711", &manifests).unwrap();

        let config = HostConfig::load(&file).unwrap();
        let names: Vec<_> = config.handlers.iter().map(|handler| handler.manifest.name.as_str()).collect();
        assert_eq!(names, HANDLERS);
        assert_eq!(config.kafka.brokers, "127.0.0.1:4711");
        assert!(matches!(&config.mail, Some(Mail::Folder(mail)) if *mail == folder.join(MAIL)));
        for handler in &config.handlers {
            handler.manifest.check_files(&handler.file).unwrap();
            for kept in handler.databases.values() {
                let file = Address::Sqlite(folder.join(&database_name(&handler.manifest.name)));
                assert_eq!((kept.write.as_ref(), kept.read.as_ref()), (Some(&file), Some(&file)));
                assert!(!kept.every_commit_to_disk);
            }
        }
    }

    #[test]
    fn a_component_that_was_not_built_is_named_with_what_to_do() {
        let place = tempfile::tempdir().unwrap();
        handlers(place.path(), &place.path().join("elsewhere"));
        let folder = StateFolder::afresh(&place.path().join("demo")).unwrap();
        let told = copy_handlers(place.path(), &folder).unwrap_err();
        let told = told.downcast_ref::<DeploymentError>().unwrap();
        assert!(told.to_string().contains("accounting.wasm"), "{told}");
        assert!(told.hint().is_some_and(|hint| hint.contains("make components")));
    }
}
