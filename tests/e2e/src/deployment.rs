//! A deployment in a temporary folder: manifests beside their components and migrations, and a host file,
//! as an operator would lay them out.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use crate::broker::Subscription;
use crate::place;

/// A handler to be deployed.
pub struct Part {
    /// The folder with its `handler.toml` and perhaps `migrations`, from the root of the repository.
    pub folder: &'static str,
}

/// The handlers of the task exchange, and one that records what it saw.
pub const EXCHANGE: [Part; 4] = [
    Part { folder: "handlers/accounting" },
    Part { folder: "handlers/email" },
    Part { folder: "handlers/analytics" },
    Part { folder: "tests/guests/recorder" },
];

/// What the tests need to know of a manifest.
#[derive(Debug, Deserialize)]
struct Manifest {
    name: String,
    component: String,
    subscribe: Subscribe,
    #[serde(default)]
    grants: Grants,
}

#[derive(Debug, Deserialize)]
struct Subscribe {
    topics: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Grants {
    #[serde(default)]
    sql: toml::Table,
}

/// What a deployment may have otherwise than most.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a broker waits for a member that is gone without a word, in seconds. By default the least
    /// that brokers allow by default, because each host that follows a killed one waits for it.
    pub session_s: u32,
    /// Further lines in `[kafka]`; none by default.
    pub kafka: String,
    /// The token of the admin port; none by default.
    pub token: Option<String>,
    /// How long a host that stops may take, in seconds; the host's own default by default.
    pub drain_s: Option<u32>,
    /// What the host file says of the databases of these handlers, as `read = "URL"`. Each other has a file.
    pub databases: BTreeMap<&'static str, String>,
    /// Where a mail server listens on this machine; by default mails go to a folder.
    pub mail_port: Option<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_s: 6,
            kafka: String::new(),
            token: None,
            drain_s: None,
            databases: BTreeMap::new(),
            mail_port: None,
        }
    }
}

/// The file of the token, inside the folder.
const TOKEN: &str = "token";

/// Records of a partition in the host at once: few, so that a topic does not fit, intake has to wait, and a
/// task's later events are not far behind its first ones.
const PARTITION_RECORDS: u32 = 100;

/// A host file and everything it names.
pub struct Deployment {
    folder: TempDir,
    fleet: String,
    /// Where the host will listen for health and metrics.
    pub admin_port: u16,
    handlers: Vec<Manifest>,
}

impl Deployment {
    /// Lays out these handlers for a fleet on this broker.
    ///
    /// # Errors
    /// When a part is missing or a file cannot be written.
    pub fn new(bootstrap: &str, fleet: &str, parts: &[Part]) -> Result<Self> {
        Self::with(bootstrap, fleet, parts, &Settings::default())
    }

    /// The same with settings of its own.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with(bootstrap: &str, fleet: &str, parts: &[Part], settings: &Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join("data"))?;
        let handlers = parts.iter().map(|part| place_part(part, folder.path())).collect::<Result<_>>()?;
        let deployment = Self { folder, fleet: fleet.to_owned(), admin_port: free_port()?, handlers };
        std::fs::write(deployment.config(), deployment.host_file(bootstrap, settings))?;
        if let Some(token) = &settings.token {
            deployment.set_token(token)?;
        }
        Ok(deployment)
    }

    /// Writes another token where the host file says. A host that runs keeps the one it was started with.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_token(&self, token: &str) -> Result<()> {
        Ok(std::fs::write(self.folder.path().join(TOKEN), token)?)
    }

    /// The host file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("keylane.toml")
    }

    /// The folder with everything.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is, for people to look into, and answers where that is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        self.folder.keep()
    }

    /// The database of a handler.
    #[must_use]
    pub fn database(&self, handler: &str) -> PathBuf {
        self.folder.path().join(format!("data/{handler}.db"))
    }

    /// The handlers that have a database.
    pub fn with_databases(&self) -> impl Iterator<Item = &str> {
        let with_one = self.handlers.iter().filter(|handler| !handler.grants.sql.is_empty());
        with_one.map(|handler| handler.name.as_str())
    }

    /// What each handler's group reads.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<Subscription> {
        let subscription = |handler: &Manifest| Subscription {
            group: format!("{}.{}", self.fleet, handler.name),
            topics: handler.subscribe.topics.clone(),
        };
        self.handlers.iter().map(subscription).collect()
    }

    fn host_file(&self, bootstrap: &str, settings: &Settings) -> String {
        let manifests: Vec<_> = self
            .handlers
            .iter()
            .map(|handler| format!("{:?}", format!("{}/handler.toml", handler.name)))
            .collect();
        let databases: String =
            self.handlers.iter().flat_map(|handler| databases(handler, &settings.databases)).collect();
        let Settings { session_s, kafka, .. } = settings;
        let drain = settings.drain_s.map(|seconds| format!("drain = \"{seconds}s\"\n")).unwrap_or_default();
        let mail = settings.mail_port.map_or("[mail]\nfolder = \"mails\"\n".to_owned(), |port| {
            format!("[mail.smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n")
        });
        let token = settings.token.as_ref().map(|_| format!("token-file = {TOKEN:?}\n")).unwrap_or_default();
        format!(
            "fleet = {:?}\nhandlers = [{}]\n\n\
             [kafka]\nbrokers = [{bootstrap:?}]\nsession-timeout = \"{session_s}s\"\n{kafka}\n\n{databases}\
             {mail}\n[limits]\npartition-records = {PARTITION_RECORDS}\n{drain}\n\
             [admin]\nlisten = \"127.0.0.1:{}\"\n{token}",
            self.fleet,
            manifests.join(", "),
            self.admin_port,
        )
    }
}

fn databases(handler: &Manifest, told: &BTreeMap<&'static str, String>) -> Vec<String> {
    let name = &handler.name;
    let own = format!("write = \"sqlite://data/{name}.db\"");
    let line = told.get(name.as_str()).unwrap_or(&own);
    let database = |grant: &String| format!("[databases.{name}.{grant}]\n{line}\n\n");
    handler.grants.sql.keys().map(database).collect()
}

fn place_part(part: &Part, folder: &Path) -> Result<Manifest> {
    let from = place::repository().join(part.folder);
    let file = from.join("handler.toml");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let to = folder.join(&manifest.name);
    std::fs::create_dir(&to)?;
    std::fs::write(to.join("handler.toml"), text)?;
    std::fs::copy(place::component(&manifest.component)?, to.join(&manifest.component))?;
    let migrations = from.join("migrations");
    if migrations.is_dir() {
        std::fs::create_dir(to.join("migrations"))?;
        for entry in std::fs::read_dir(migrations)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join("migrations").join(entry.file_name()))?;
        }
    }
    Ok(manifest)
}

/// A port that was free a moment ago. Another program may take it before it is used; then the start fails
/// and says so.
///
/// # Errors
/// When the machine has none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
