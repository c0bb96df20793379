//! What the demo finds when all is done: in the ledger, in the mail folder, in analytics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use keylane_effects::{ReadDatabase, ResultLimits, StatementLimits, Value, open_reading};
use keylane_engine::Totals;

use super::deploy::MAIL;
use super::exchange::Dearest;
use super::folder::StateFolder;
use crate::config::HostConfig;
use crate::host::plan;

/// Whole units by day or account.
pub(super) type Amounts = BTreeMap<String, i64>;

/// What was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// Entries of the ledger.
    pub(super) entries: u64,
    /// What every account of the ledger holds, as it is named there.
    pub(super) accounts: Amounts,
    /// Payouts in the ledger.
    pub(super) payouts: u64,
    /// Files in the mail folder.
    pub(super) mails: u64,
    /// The company's take of each day, as the ledger has it.
    pub(super) ledger_take: Amounts,
    /// The same, as analytics has it.
    pub(super) take: Amounts,
    /// How many workers owe something, as analytics has it.
    pub(super) in_the_red: u64,
    /// The dearest task of each day, week and month.
    pub(super) dearest: BTreeMap<String, Dearest>,
    /// What the dearest tasks are called, by their ids.
    pub(super) titles: BTreeMap<String, String>,
    /// What became of each handler's records.
    pub(super) tallies: Vec<(String, Totals)>,
    /// Records that have not ended; none if that is not known.
    pub(super) lag: Option<u64>,
}

/// The account of the company, as the ledger names it.
pub(super) const COMPANY: &str = "company";
/// The account of what was paid out.
pub(super) const CASH: &str = "cash";
/// Before a worker's id.
const WORKER: &str = "worker:";

impl Found {
    /// Looks into everything.
    ///
    /// # Errors
    /// When a database or the mail folder cannot be read.
    pub(super) async fn look(
        folder: &StateFolder,
        config: &HostConfig,
        tallies: Vec<(String, Totals)>,
        lag: Option<u64>,
    ) -> anyhow::Result<Self> {
        let (ledger, analytics) =
            (Database::open(config, "accounting").await?, Database::open(config, "analytics").await?);
        let (dearest, titles) = analytics.dearest().await?;
        Ok(Self {
            entries: ledger.count("SELECT COUNT(*) FROM entries").await?,
            accounts: ledger.amounts("SELECT account, balance FROM balances").await?,
            payouts: ledger.count("SELECT COUNT(*) FROM entries WHERE kind = 'payout'").await?,
            mails: mails(&folder.join(MAIL))?,
            ledger_take: ledger
                .amounts(
                    "SELECT e.day, SUM(p.amount) FROM entries e JOIN postings p ON p.entry = e.entry \
                     WHERE p.account = 'company' GROUP BY e.day",
                )
                .await?,
            take: analytics.amounts("SELECT day, take FROM company_take").await?,
            in_the_red: analytics.count("SELECT COUNT(*) FROM workers_in_the_red").await?,
            dearest,
            titles,
            tallies,
            lag,
        })
    }

    /// What the workers' accounts hold, by worker.
    pub(super) fn workers(&self) -> Amounts {
        let workers = self.accounts.iter().filter_map(|(account, balance)| {
            account.strip_prefix(WORKER).map(|worker| (worker.to_owned(), *balance))
        });
        workers.collect()
    }

    /// What an account holds; nothing, if it is not there.
    pub(super) fn account(&self, account: &str) -> i64 {
        self.accounts.get(account).copied().unwrap_or_default()
    }
}

/// Mails that are whole: one that is being written has another ending.
fn mails(folder: &Path) -> anyhow::Result<u64> {
    let cannot = || format!("cannot look into {}", folder.display());
    let mut mails = 0;
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        mails += u64::from(entry.with_context(cannot)?.path().extension().is_some_and(|end| end == "eml"));
    }
    Ok(mails)
}

/// How much one look may answer: the accounts of all workers that a demo can have.
const LIMITS: ResultLimits = ResultLimits { rows: 1_000_000, bytes: 256 << 20 };
/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A handler's database, read from its read address, as a handler with `access = "read"` reads it.
struct Database(Arc<dyn ReadDatabase>);

impl Database {
    async fn open(config: &HostConfig, handler: &str) -> anyhow::Result<Self> {
        let handler = config.handlers.iter().find(|one| one.manifest.name == handler);
        let found = handler.and_then(|handler| Some((handler, handler.databases.values().next()?)));
        let (handler, database) = found.context("a handler without a database")?;
        Ok(Self(open_reading(&plan::database(handler, database)?).await?))
    }

    async fn rows<const COLUMNS: usize>(&self, sql: &str) -> anyhow::Result<Vec<[Value; COLUMNS]>> {
        let statement = self.0.check(sql, &[], &StatementLimits::default())?;
        let rows = self.0.query(statement, Vec::new(), LIMITS, DEADLINE).await?.rows;
        rows.into_iter()
            .map(|row| {
                row.try_into().map_err(|row| anyhow::anyhow!("{COLUMNS} columns expected, found {row:?}"))
            })
            .collect()
    }

    async fn count(&self, sql: &str) -> anyhow::Result<u64> {
        match self.rows(sql).await?.as_slice() {
            [[Value::Integer(count)]] => Ok(u64::try_from(*count)?),
            other => bail!("one number expected, found {other:?}"),
        }
    }

    async fn amounts(&self, sql: &str) -> anyhow::Result<Amounts> {
        let amount = |row: [Value; 2]| match row {
            [Value::Text(name), Value::Integer(amount)] => Ok((name, amount)),
            other => bail!("a name and an amount expected, found {other:?}"),
        };
        self.rows(sql).await?.into_iter().map(amount).collect()
    }

    async fn dearest(&self) -> anyhow::Result<(BTreeMap<String, Dearest>, BTreeMap<String, String>)> {
        let (mut dearest, mut titles) = (BTreeMap::new(), BTreeMap::new());
        for row in self.rows("SELECT period, task, title, reward FROM dearest_tasks").await? {
            let [Value::Text(period), Value::Text(task), title, Value::Integer(reward)] = row else {
                bail!("a dearest task expected, found {row:?}");
            };
            if let Value::Text(title) = title {
                titles.insert(task.clone(), title);
            }
            dearest.insert(period, Dearest { reward, task });
        }
        Ok((dearest, titles))
    }
}
