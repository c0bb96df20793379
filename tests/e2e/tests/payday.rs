//! A day closes for many workers: pages of a thousand, a host killed amid the payouts, and in the end each
//! worker is paid once and gets one mail. `KEYLANE_PAYDAY_WORKERS` sets how many there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Record};
use keylane_e2e::check::facts;
use keylane_e2e::deployment::{Deployment, Part};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::effects;
use keylane_e2e::host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::sqlite::{Database, column};
use keylane_e2e::story::{self, DAYS, TASKS};
use keylane_test_support::waiting;

/// By default two full pages and some.
const WORKERS: usize = 2_500;
const DAY: &str = "2027-01-04";
const PARTITIONS: i32 = 6;
const PARTS: [Part; 2] = [Part { folder: "handlers/accounting" }, Part { folder: "handlers/email" }];

fn workers() -> Result<usize> {
    let told = std::env::var("KEYLANE_PAYDAY_WORKERS").ok();
    told.map_or(Ok(WORKERS), |told| told.parse().with_context(|| told.clone()))
}

/// How long a step may take on a busy machine.
fn limit(workers: usize) -> Duration {
    Duration::from_secs(120) + Duration::from_millis(10) * u32::try_from(workers).unwrap_or(u32::MAX)
}

/// Each worker completes one task.
fn completed(worker: usize) -> Record {
    let body = format!(r#"{{"task":"t-{worker}","worker":"w-{worker}","day":"{DAY}"}}"#);
    let headers = vec![("ce_type".to_owned(), "task.completed".to_owned())];
    Record { key: Some(format!("t-{worker}")), value: Some(body), headers }
}

#[test]
fn each_of_many_workers_is_paid_and_told_once() -> Result<()> {
    let (workers, folder) = (workers()?, tempfile::tempdir()?);
    let limit = limit(workers);
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    let topics = [TASKS, DAYS, facts::ENTRIES, facts::PAYOUTS, "accounting-commands"];
    client.create_topics(&topics, PARTITIONS)?;
    let deployment = Deployment::new(&broker.bootstrap, "payday", &PARTS)?;
    let mut onlooker = Onlooker::new(&broker.bootstrap);
    let mut tasks = client.writer(TASKS)?;
    tasks.write(&(0..workers).map(completed).collect::<Vec<_>>())?;
    tasks.finish()?;

    let first = host::start(&deployment, "host-1.log")?;
    let done = effects::until_all_is_done(&deployment, &mut onlooker, limit);
    done.with_context(|| first.last_words())?;
    let mut days = client.writer(DAYS)?;
    days.write(&[story::day_closed(DAY)])?;
    days.finish()?;
    let ledger = deployment.database("accounting");
    waiting::closely("a tenth of the workers are paid", limit, || {
        Ok((paid(&ledger)? >= workers / 10).then_some(()))
    })
    .with_context(|| first.last_words())?;
    first.kill()?;
    let paid_before = paid(&ledger)?;
    ensure!(paid_before < workers, "all were paid before the host was killed: that shows nothing");

    let second = host::start(&deployment, "host-2.log")?;
    let done = effects::until_all_is_done(&deployment, &mut onlooker, limit);
    done.with_context(|| second.last_words())?;
    judge(&deployment, &client, workers)
}

fn paid(ledger: &Path) -> Result<usize> {
    let paid = Database::open(ledger)?.number("SELECT count(*) FROM entries WHERE kind = 'payout'")?;
    Ok(usize::try_from(paid)?)
}

fn judge(deployment: &Deployment, client: &PlainClient, workers: usize) -> Result<()> {
    let mut books = Database::open(&deployment.database("accounting"))?;
    ensure!(books.number("SELECT count(*) FROM entries")? == i64::try_from(2 * workers)?, "entries");
    ensure!(books.number("SELECT sum(amount) FROM postings")? == 0, "the books do not balance");
    let left =
        books.rows("SELECT account, balance FROM balances WHERE account LIKE 'worker:%' AND balance <> 0")?;
    let left: Vec<String> = left.iter().map(|row| column(row, "account")).collect::<Result<_>>()?;
    ensure!(left.is_empty(), "not paid in full: {left:?}");

    for (topic, wanted) in [(facts::PAYOUTS, workers), (facts::ENTRIES, 2 * workers)] {
        let stored = client.read(topic)?;
        let ids: BTreeSet<_> = stored.iter().map(|one| one.record.header("ce_id")).collect();
        ensure!(
            stored.len() == wanted && ids.len() == wanted,
            "{topic}: {} records of {} facts, not {wanted}",
            stored.len(),
            ids.len()
        );
    }
    let dues = client.read("accounting-commands")?;
    let pages = dues.iter().filter(|one| one.record.header("ce_type") == Some("payout.page")).count();
    ensure!(
        pages == workers / 1_000 + 1 && dues.len() == pages + workers,
        "{pages} pages, {} commands",
        dues.len()
    );
    let mails = effects::mails(deployment)?;
    ensure!(mails == workers, "{mails} mails for {workers} workers");
    Ok(())
}
