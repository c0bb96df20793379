//! `keylane replay` and `keylane adopt`, as an operator types them, on SQLite and on a real PostgreSQL.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use keylane_effects::{Database, DatabaseConfig, EndedAs, StreamKey, Taken, open};
use keylane_engine::TopicId;
use keylane_test_support::{Checks, postgres};
use tokio::runtime::Runtime;

const MANIFEST: &str = "name = \"audit\"\ncomponent = \"audit.wasm\"\n[subscribe]\ntopics = [\"tasks\", \"days\"]\n\
                        [grants.sql.ledger]\naccess = \"write\"\n";
const LIMIT: Duration = Duration::from_secs(60);

/// A host file beside its manifest, and how the test itself opens the same database.
struct Stage {
    folder: tempfile::TempDir,
    config: DatabaseConfig,
}

impl Stage {
    /// The database has this address; none is a file in the folder.
    fn new(address: Option<&str>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let plain = MANIFEST.split("[grants").next().unwrap_or_default().replace("audit", "plain");
        std::fs::write(folder.path().join("audit.toml"), MANIFEST)?;
        std::fs::write(folder.path().join("plain.toml"), plain)?;
        let config = match address {
            Some(address) => DatabaseConfig::new(address.to_owned()),
            None => DatabaseConfig::sqlite(&folder.path().join("audit.db")),
        };
        let stage = Self { folder, config };
        stage.name_fleet("exchange", address.unwrap_or("sqlite://audit.db"))?;
        Ok(stage)
    }

    fn name_fleet(&self, fleet: &str, address: &str) -> Result<()> {
        let text = format!(
            "fleet = {fleet:?}\nhandlers = [\"audit.toml\", \"plain.toml\"]\n[kafka]\n\
             brokers = [\"localhost:1\"]\n[databases.audit.ledger]\nwrite = {address:?}\n"
        );
        Ok(std::fs::write(self.path().join("keylane.toml"), text)?)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The exit code, and what was said on standard output or standard error.
    fn keylane(&self, line: &str) -> Result<(Option<i32>, String)> {
        let output = Command::new(env!("CARGO_BIN_EXE_keylane"))
            .args(line.split(' '))
            .args(["--config", "keylane.toml"])
            .current_dir(self.path())
            .env_remove("KEYLANE_LOG")
            .output()?;
        let said = if output.status.success() { output.stdout } else { output.stderr };
        Ok((output.status.code(), String::from_utf8(said)?))
    }
}

fn key(fleet: &str) -> StreamKey {
    StreamKey {
        fleet: fleet.to_owned(),
        handler: "audit".to_owned(),
        topic: "tasks".to_owned(),
        topic_id: TopicId::new([7; 16]),
        partition: 3,
    }
}

async fn take(database: &dyn Database, fleet: &str) -> Result<Taken> {
    Ok(database.take(&key(fleet), LIMIT).await?)
}

/// Ends the events 0 to 6.
async fn end_some(database: &dyn Database) -> Result<Taken> {
    database.settle_start(&key("exchange"), &[(3, 0)]).await?;
    let taken = take(database, "exchange").await?;
    let run = database.begin(&taken.fence).await?;
    let endings: Vec<(i64, EndedAs)> = (0..7).map(|offset| (offset, EndedAs::Done)).collect();
    run.finish(&[], &endings, LIMIT).await?;
    Ok(taken)
}

/// What the operator says is done, and nothing else; then under another fleet's name.
fn operate(stage: &Stage, address: &str) -> Result<()> {
    let runtime = Runtime::new()?;
    let database = runtime.block_on(open(&stage.config))?;
    let owner = runtime.block_on(end_some(&*database))?;
    let says = |line: &str, code: i32, words: &[&str]| {
        let (exit, said) = stage.keylane(line)?;
        ensure!(
            exit == Some(code) && words.iter().all(|word| said.contains(word)),
            "{line}: {exit:?}: {said}"
        );
        anyhow::Ok(())
    };
    says("replay audit --partition 3 --from 4", 2, &["reads several topics", "--topic: tasks, days"])?;
    says("replay plain --partition 3 --from 4", 2, &["writes to no database", "--reset-offsets"])?;
    says("replay audit --topic days --partition 3 --from 4", 2, &["no progress", "days[3]"])?;
    let skips = ["2 offsets, from 0 on", "never be handled", "--skip"];
    says("replay audit --topic tasks --partition 3 --from 9", 2, &skips)?;
    let look = ["tasks[3] would go on from offset 4, as replay 1", "would be handled again: 3", "--as 1"];
    says("replay audit --topic tasks --partition 3 --from 4", 0, &look)?;
    let run =
        runtime.block_on(database.begin(&owner.fence)).context("a look has taken the partition away")?;
    runtime.block_on(run.rollback());

    let done = ["tasks[3] goes on from offset 4, as replay 1", "are handled again: 3", "the last is 6"];
    says("replay audit --topic tasks --partition 3 --from 4 --as 1", 0, &done)?;
    let once = ["has the number 2", "maybe by this very command"];
    says("replay audit --topic tasks --partition 3 --from 4 --as 1", 2, &once)?;
    ensure!(runtime.block_on(database.begin(&owner.fence)).is_err(), "the former owner writes on");
    let taken = runtime.block_on(take(&*database, "exchange"))?;
    ensure!((taken.floor, taken.ended.len(), taken.fence.replay) == (Some(4), 0, 1), "{taken:?}");
    let skipped = ["as replay 2", "passed over: 5"];
    says("replay audit --topic tasks --partition 3 --from 9 --skip --as 2", 0, &skipped)?;

    stage.name_fleet("renamed", address)?;
    says("replay audit --topic tasks --partition 3 --from 4", 2, &["no progress"])?;
    says("adopt audit", 0, &["belongs to the fleet \"renamed\""])?;
    let taken = runtime.block_on(take(&*database, "renamed"))?;
    ensure!((taken.floor, taken.fence.replay) == (Some(9), 2), "{taken:?}");
    Ok(())
}

fn main() -> ExitCode {
    let mut checks = Checks::from_args();
    checks.run("an_operator_has_events_handled_again_on_sqlite", || {
        operate(&Stage::new(None)?, "sqlite://audit.db")
    });
    let name = "an_operator_has_events_handled_again_on_postgresql";
    if checks.wants(name) {
        match postgres("the operator's commands on a database of PostgreSQL") {
            Ok(None) => {}
            Ok(Some(server)) => checks.run(name, || {
                let address = server.database()?;
                operate(&Stage::new(Some(&address))?, &address)
            }),
            Err(error) => checks.report(name, Duration::ZERO, Err(error)),
        }
    }
    checks.finish()
}
