//! `EFFECTS`: what the handlers do beside telling, so that each effect can be counted: rows in a database, and
//! records and mails that are committed with them; or, by Kafka alone, records that are committed with the
//! progress.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use keylane_test_support::SmtpServer;
use serde::Serialize;

use crate::fleet::{ATTEMPTS, HANDLER, INPUT, SEEN};
use crate::ledger::Ledger;
use crate::place;

/// Of so many mails offered, the server puts one off: it has to come again.
const PUT_OFF_EACH: u64 = 20;
/// Who sends mails. The part after the `@` is part of each Message-ID.
const SENDER: &str = "witness@example.org";

/// What keeps the effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Effects {
    /// One file of SQLite, which all hosts of this machine share.
    Sqlite,
    /// One server of PostgreSQL.
    Postgres,
    /// Kafka alone: records and progress in one transaction.
    Kafka,
}

/// What stands beside the hosts. Dropping it ends the servers.
pub struct Outside {
    /// The database.
    pub ledger: Ledger,
    /// The mail server.
    pub mails: SmtpServer,
}

impl Outside {
    /// Starts it, where these effects have anything outside of Kafka; a file lies in this folder.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn start(effects: Effects, folder: &Path) -> Result<Option<Self>> {
        let ledger = match effects {
            Effects::Sqlite => Ledger::sqlite(folder)?,
            Effects::Postgres => Ledger::postgres()?,
            Effects::Kafka => return Ok(None),
        };
        Ok(Some(Self { ledger, mails: SmtpServer::start_that_puts_off(PUT_OFF_EACH)? }))
    }
}

/// The Message-ID of the only mail of an event, where the input has this topic id.
#[must_use]
pub fn message_id(topic_id: &str, partition: i32, offset: i64) -> String {
    let domain = SENDER.rsplit('@').next().unwrap_or_default();
    format!("{HANDLER}.{INPUT}.{topic_id}.{partition}.{offset}.0@{domain}")
}

/// The topic id in a Message-ID, if it is one of those.
#[must_use]
pub fn topic_id(message_id: &str) -> Option<&str> {
    let rest = message_id.strip_prefix(HANDLER)?.strip_prefix('.')?.strip_prefix(INPUT)?.strip_prefix('.')?;
    rest.split('.').next()
}

/// What each host gets: its handler, and what its configuration says of it.
pub struct Equipment {
    /// The handler's component, with a place for the host's digits.
    pub component: Vec<u8>,
    /// The handler's manifest.
    pub manifest: String,
    /// The handler's only migration, if it has a database.
    pub migration: Option<String>,
    /// What the host file says beyond what all say.
    pub host_file: String,
}

impl Equipment {
    /// For handlers that only tell, be it by Kafka's transactions, or for those with effects outside.
    ///
    /// # Errors
    /// When the component is not built.
    pub fn new(effects: Option<Effects>, outside: Option<&Outside>) -> Result<Self> {
        let Some(Outside { ledger, mails }) = outside else {
            let in_cuts = effects == Some(Effects::Kafka);
            let guarantee = if in_cuts { "exactly-once" } else { "at-least-once" };
            return Ok(Self {
                component: place::component("witness").context("the witness")?,
                manifest: manifest(guarantee, ""),
                migration: None,
                host_file: String::new(),
            });
        };
        let grants = format!(
            "[grants.sql.ledger]\naccess = \"write\"\nmigrations = \"migrations\"\n\n\
             [grants.mail]\nfrom = \"{SENDER}\"\n\n"
        );
        let host_file = format!(
            "\n[databases.{HANDLER}.ledger]\nwrite = \"{}\"\n\n\
             [mail.smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\n",
            ledger.address(),
            mails.port(),
        );
        Ok(Self {
            component: place::component("ledger_witness").context("the witness with a ledger")?,
            manifest: manifest("exactly-once", &grants),
            migration: Some(ledger.migration()),
            host_file,
        })
    }
}

fn manifest(guarantee: &str, grants: &str) -> String {
    format!(
        "name = \"{HANDLER}\"\ncomponent = \"witness.wasm\"\n\n[subscribe]\ntopics = [\"{INPUT}\"]\n\n\
         [delivery]\nguarantee = \"{guarantee}\"\nattempts = {ATTEMPTS}\nbackoff = \"50ms\"\nbackoff-max = \"400ms\"\n\n\
         {grants}[grants.producer]\ntopics = [\"{SEEN}\"]\n\n\
         [limits]\nmemory = \"16MiB\"\ntime = \"500ms\"\nconcurrency = 32\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_is_made_of_the_events_place() {
        let id = message_id("BwcHBwcHBwcHBwcHBwcHBw", 3, 17);
        assert_eq!(id, "witness.chaos-input.BwcHBwcHBwcHBwcHBwcHBw.3.17.0@example.org");
        assert_eq!(topic_id(&id), Some("BwcHBwcHBwcHBwcHBwcHBw"));
        assert_eq!(topic_id("other.3.17.0@example.org"), None);
    }
}
