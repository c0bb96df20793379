//! A day closes for many workers: pages of a thousand, a host killed amid payouts and mails. In the end the books
//! balance, each fact is published once, each worker has one mail, and the second host has done what the first one
//! had left, and nothing again. `KEYLANE_PAYDAY_WORKERS` sets how many workers there are.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Record, Subscription};
use keylane_e2e::check::{facts, mail};
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::effects::{self, Ended};
use keylane_e2e::host::{self, Process};
use keylane_e2e::metrics::Metrics;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::payday::{COMMANDS, DAY, check_published, completed};
use keylane_e2e::plain::PlainClient;
use keylane_e2e::scenario::say;
use keylane_e2e::sqlite::{Database, column};
use keylane_e2e::story::{self, DAYS, TASKS};
use keylane_test_support::{SmtpServer, waiting};

/// By default two full pages and some.
const WORKERS: usize = 2_500;
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

/// The broker's client, the handlers, and where their mails go.
struct Payday {
    client: PlainClient,
    deployment: Deployment,
    mails: SmtpServer,
    workers: usize,
    limit: Duration,
}

/// What the killed host left.
struct Left {
    /// How many mails it had sent.
    mails: usize,
    /// What had ended of each handler, and what its group reads.
    ended: Vec<(Ended, Subscription)>,
}

#[test]
fn each_of_many_workers_is_paid_and_told_once() -> Result<()> {
    let (workers, folder) = (workers()?, tempfile::tempdir()?);
    let broker = DevBroker::start(folder.path())?;
    let client = PlainClient::new(&broker.bootstrap);
    client.create_topics(&[TASKS, DAYS, facts::ENTRIES, facts::PAYOUTS, COMMANDS], PARTITIONS)?;
    let mails = SmtpServer::start()?;
    let settings = Settings { mail_port: Some(mails.port()), ..Settings::default() };
    let deployment = Deployment::with(&broker.bootstrap, "payday", &PARTS, &settings)?;
    let payday = Payday { client, deployment, mails, workers, limit: limit(workers) };
    let mut onlooker = Onlooker::new(&broker.bootstrap);
    payday.write(TASKS, &(0..workers).map(completed).collect::<Vec<_>>())?;
    let first = host::start(&payday.deployment, "host-1.log")?;
    payday.until_done(&first, &mut onlooker)?;
    payday.write(DAYS, &[story::day_closed(DAY)])?;
    let left = payday.kill_amid_payouts(first)?;

    let second = host::start(&payday.deployment, "host-2.log")?;
    payday.until_done(&second, &mut onlooker)?;
    payday.balances()?;
    let payouts = check_published(&payday.client, workers)?;
    payday.only_what_was_left_is_done(&left)?;
    let mails = payday.mails.mails();
    let (of_first, of_second) = mails.split_at(left.mails);
    let again = mail::check(&payouts, &[of_first, of_second])?;
    say(&format!(
        "{workers} workers are paid once and told once; {again} mails were under way and came again"
    ));
    Ok(())
}

impl Payday {
    fn write(&self, topic: &str, records: &[Record]) -> Result<()> {
        let mut writer = self.client.writer(topic)?;
        writer.write(records)?;
        writer.finish()
    }

    fn until_done(&self, host: &Process, onlooker: &mut Onlooker) -> Result<()> {
        let done = effects::until_all_is_done(&self.deployment, onlooker, self.limit);
        done.with_context(|| host.last_words())
    }

    /// Kills the host when a tenth is paid and some are told.
    fn kill_amid_payouts(&self, host: Process) -> Result<Left> {
        let ledger = self.deployment.database("accounting");
        waiting::closely("a tenth of the workers are paid, and some are told", self.limit, || {
            Ok((paid(&ledger)? >= self.workers / 10 && self.mails.taken() > 0).then_some(()))
        })
        .with_context(|| host.last_words())?;
        host.kill()?;
        let paid = paid(&ledger)?;
        ensure!(paid < self.workers, "all were paid before the host was killed: that shows nothing");
        let mails = self.mails.taken_when_all_are_gone(self.limit)?;
        say(&format!("SIGKILL after {paid} of {} payouts and {mails} mails", self.workers));
        let read = |group: Subscription| Ok((Ended::read(&self.deployment, handler_of(&group))?, group));
        let ended = self.deployment.subscriptions().into_iter().map(read).collect::<Result<_>>()?;
        Ok(Left { mails, ended })
    }

    fn balances(&self) -> Result<()> {
        let mut books = Database::open(&self.deployment.database("accounting"))?;
        let entries = books.number("SELECT count(*) FROM entries")?;
        ensure!(entries == i64::try_from(2 * self.workers)?, "{entries} entries");
        ensure!(books.number("SELECT sum(amount) FROM postings")? == 0, "the books do not balance");
        let left = "SELECT account FROM balances WHERE account LIKE 'worker:%' AND balance <> 0";
        let left: Vec<String> =
            books.rows(left)?.iter().map(|row| column(row, "account")).collect::<Result<_>>()?;
        ensure!(left.is_empty(), "not paid in full: {left:?}");
        Ok(())
    }

    /// Natural keys hide from the books that an event is handled again; the host that does so counts it.
    fn only_what_was_left_is_done(&self, left: &Left) -> Result<()> {
        let (_, metrics) = host::ask(&self.deployment, "/metrics")?;
        let metrics = Metrics::read(&metrics)?;
        for (ended, group) in &left.ended {
            let open = |topic: &String| Ok(ended.open(topic, &self.client.read(topic)?));
            let open = group.topics.iter().map(open).sum::<Result<usize>>()?;
            let handler = handler_of(group);
            let done = metrics.sum("keylane_events_done_total", &[("handler", handler)]);
            ensure!(done as usize == open, "{handler} has done {done} events; {open} were left to do");
            say(&format!("{handler} did the {open} events that were left, and no other"));
        }
        Ok(())
    }
}

fn handler_of(group: &Subscription) -> &str {
    group.group.rsplit('.').next().unwrap_or_default()
}

fn paid(ledger: &Path) -> Result<usize> {
    let paid = Database::open(ledger)?.number("SELECT count(*) FROM entries WHERE kind = 'payout'")?;
    Ok(usize::try_from(paid)?)
}
