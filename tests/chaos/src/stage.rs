//! The stage: brokers, hosts, topics, and what is known of them. It lives through all rounds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use keylane_test_support::waiting;
use tempfile::TempDir;

use crate::clock;
use crate::cluster::Cluster;
use crate::effects::{Effects, Equipment, Outside};
use crate::evidence::{self, Evidence, Once};
use crate::faults::{Deed, FaultLog};
use crate::fleet::{Fleet, INPUT, LETTERS, Protocol, SEEN};
use crate::given_up::{self, Figures};
use crate::ledger::{Ledger, Sums};
use crate::onlooker::Onlooker;
use crate::plan::{GUEST_SLOT, HOSTS, Plan};
use crate::play::{self, Played};
use crate::report::say;
use crate::samples::Sampler;

/// Partitions of the input at first, and of the topic of the tellings for ever.
const PARTITIONS: i32 = 24;
/// Partitions of the dead letters.
const LETTER_PARTITIONS: i32 = 6;
/// A dead letter is the record and more.
const LETTER_BYTES: (&str, &str) = ("max.message.bytes", "2097152");
/// Partitions that one addition adds, and how many there may be.
const ADDED: i32 = 2;
const PARTITIONS_MAX: i32 = 48;
/// How long everything may take to be as it was: hosts ready, replicas in sync.
pub const HEAL_LIMIT: Duration = Duration::from_secs(180);
/// How long the group may take to have handled everything, once nothing is wrong any more.
const DRAIN_LIMIT: Duration = Duration::from_secs(240);

/// Everything that runs. The fields are dropped in this order: hosts, then what stands beside them, then
/// brokers, then the folder.
pub struct Stage {
    /// The hosts.
    pub fleet: Fleet,
    /// Where the handlers' effects go beside Kafka, if they do.
    outside: Option<Outside>,
    effects: Option<Effects>,
    /// Asks the brokers.
    pub onlooker: Onlooker,
    /// The brokers.
    pub cluster: Cluster,
    /// What was done to them.
    pub log: FaultLog,
    partitions: i32,
    next_id: u64,
    folder: TempDir,
}

/// What a round left behind, and how long it took until all was handled.
pub struct Outcome {
    /// What lies in Kafka.
    pub evidence: Evidence,
    /// What went wrong on the stage itself.
    pub findings: Vec<String>,
    /// From the last record's acknowledgement until the group was at the end of every partition, in
    /// milliseconds.
    pub drain_ms: u64,
}

impl Stage {
    /// Starts brokers and hosts, makes the topics, and waits until all hosts are ready.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(protocol: Protocol, effects: Option<Effects>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("keylane-chaos-").tempdir()?;
        let outside = effects.map(|effects| Outside::start(effects, folder.path())).transpose()?.flatten();
        let equipment = Equipment::new(effects, outside.as_ref())?;
        let cluster = Cluster::start(folder.path())?;
        let onlooker = Onlooker::new(&cluster.bootstrap())?;
        onlooker.make_topic(INPUT, PARTITIONS, &[])?;
        // The checker needs to know when these were written, by a clock that is not the host's.
        let by_broker = ("message.timestamp.type", "LogAppendTime");
        onlooker.make_topic(SEEN, PARTITIONS, &[by_broker])?;
        onlooker.make_topic(LETTERS, LETTER_PARTITIONS, &[by_broker, LETTER_BYTES])?;
        Onlooker::until_known(&cluster.bootstrap(), &[INPUT, SEEN, LETTERS], HEAL_LIMIT)?;
        let ports = (0..=GUEST_SLOT).map(|slot| cluster.admin_port(slot)).collect::<Result<_>>()?;
        let fleet = Fleet::new(folder.path().to_owned(), cluster.bootstrap(), ports, protocol, equipment)?;
        let log = FaultLog::default();
        let partitions = PARTITIONS;
        let mut stage =
            Self { fleet, outside, effects, onlooker, cluster, log, partitions, next_id: 0, folder };
        let started = (0..HOSTS).try_for_each(|slot| stage.start_host(slot));
        let ready = started.and_then(|()| stage.fleet.until_ready(HEAL_LIMIT));
        match ready {
            Ok(()) => Ok(stage),
            Err(error) => Err(error.context(format!("what happened is in {}", stage.keep().display()))),
        }
    }

    /// Where everything is written down.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends everything and leaves the folder where it is.
    #[must_use]
    pub fn keep(self) -> PathBuf {
        let Self { fleet, outside, mut cluster, folder, .. } = self;
        cluster.keep();
        drop(fleet);
        drop(outside);
        drop(cluster);
        folder.keep()
    }

    /// Starts a host in a slot.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_host(&mut self, slot: usize) -> Result<()> {
        let number = self.fleet.start(slot)?;
        self.log.happens(Deed::StartedHost(number));
        Ok(())
    }

    /// The handlers' database.
    ///
    /// # Errors
    /// When they have none.
    pub fn ledger(&self) -> Result<&Ledger> {
        Ok(&self.outside.as_ref().context("the handlers have no database")?.ledger)
    }

    /// Whether the host in a slot, which stands still, has a transaction of the database open.
    #[must_use]
    pub fn stands_inside(&self, slot: usize) -> bool {
        let (Some(outside), Some(host)) = (&self.outside, self.fleet.process(slot)) else { return false };
        // Only a figure for the report: a database that is away has no open transactions.
        outside.ledger.has_inside(host).unwrap_or(false)
    }

    /// Where the floors of the input are. Only for the report: none where the database does not say.
    #[must_use]
    pub fn floors(&self) -> BTreeMap<i32, i64> {
        self.outside.as_ref().and_then(|outside| outside.ledger.floors().ok()).unwrap_or_default()
    }

    /// Whether the host in a slot relays, as far as it can be known: one that does not answer may.
    #[must_use]
    pub fn may_relay(&self, slot: usize) -> bool {
        self.outside.is_some() && self.fleet.relays(slot).unwrap_or(true)
    }

    /// Adds partitions to the input, unless it has very many already. Answers whether that is done.
    ///
    /// # Errors
    /// When their number is none.
    pub fn add_partitions(&mut self, sampler: &Sampler) -> Result<bool> {
        let partitions = (self.partitions + ADDED).min(PARTITIONS_MAX);
        if partitions == self.partitions {
            return Ok(true);
        }
        let has = self.onlooker.has_or_gets_partitions(INPUT, partitions)?;
        if has {
            self.partitions = partitions;
            sampler.has_partitions(partitions);
            self.log.happens(Deed::AddedPartitions(partitions));
        }
        Ok(has)
    }

    /// Plays one round and gathers what it left behind.
    ///
    /// # Errors
    /// When the stage itself does not work: a tool, a broker that does not come back, the producer.
    pub fn round(&mut self, plan: &Plan) -> Result<Outcome> {
        let began_at = self.onlooker.ends(INPUT)?;
        let (seen_at, letters_at) = (self.onlooker.ends(SEEN)?, self.onlooker.ends(LETTERS)?);
        let began = self.outside.as_ref().map(Began::of).transpose()?;
        let sampler = Sampler::start(&self.cluster.bootstrap(), self.partitions)?;
        let Played { told, mut findings, deeds, stood } = play::play(self, &sampler, plan, self.next_id)?;
        self.next_id += u64::try_from(told.count())?;
        if !told.unsure.is_empty() {
            say(&format!(
                "    of {} records the producer's client cannot tell where they lie",
                told.unsure.len()
            ));
        }
        let written_at = clock::now_ms();
        let ends = self.onlooker.ends(INPUT)?;
        if let Err(error) = self.fleet.until_ready(HEAL_LIMIT) {
            findings.push(format!("hosts: {error:#}"));
        }
        let committed = self.until_committed(&ends)?;
        let once = match (&self.outside, began) {
            (Some(outside), Some(began)) => {
                let given_up = given_up::of_logs(self.fleet.logs())?;
                Some(began.since(outside, given_up::figures(&deeds, &stood, &given_up))?)
            }
            _ => None,
        };
        let drain_ms = clock::now_ms().saturating_sub(written_at);
        let bootstrap = self.cluster.bootstrap();
        let samples = sampler.finish()?;
        let (seen, letters) = if self.effects.is_some() {
            let read = |topic, from| evidence::read_committed(&bootstrap, topic, from);
            (read(SEEN, &seen_at)?, read(LETTERS, &letters_at)?)
        } else {
            let read = |topic, from| evidence::read(&bootstrap, topic, from, &self.onlooker.ends(topic)?);
            (read(SEEN, &seen_at)?, read(LETTERS, &letters_at)?)
        };
        let revision = |letter: &evidence::Stored| {
            let revision = letter.header("keylane-revision")?;
            Some((revision.to_owned(), self.fleet.host_of_revision(revision)?))
        };
        let evidence = Evidence {
            input: evidence::read(&bootstrap, INPUT, &began_at, &ends)?,
            seen,
            revisions: letters.iter().filter_map(revision).collect(),
            letters,
            written: told.acknowledged,
            unsure: told.unsure,
            began_at,
            ends,
            committed,
            samples,
            losses: self.fleet.losses()?,
            faults: self.log.clone(),
            once,
            in_cuts: self.effects == Some(Effects::Kafka),
        };
        Ok(Outcome { evidence, findings, drain_ms })
    }

    /// What is committed when the group is at the end of every partition, or when the limit has passed:
    /// then the checker will say what is missing.
    fn until_committed(&self, ends: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>> {
        let mut committed = BTreeMap::new();
        let waited = waiting::until("the group is at all ends", DRAIN_LIMIT, || {
            // A coordinator may be on its way; the limit holds for that too.
            if let Ok(answer) = self.onlooker.committed(INPUT, self.partitions) {
                committed = answer;
            }
            let is_there =
                |(partition, end): (&i32, &i64)| *end == 0 || committed.get(partition) == Some(end);
            Ok(ends.iter().all(is_there).then_some(()))
        });
        if let Err(error) = waited {
            say(&format!("{error:#}"));
        }
        Ok(committed)
    }
}

/// How far what lies outside of Kafka was before a round.
struct Began {
    last_id: i64,
    sums: Sums,
    mails: usize,
}

impl Began {
    /// In a first round the hosts are ready, so the tables are there.
    fn of(outside: &Outside) -> Result<Self> {
        let Outside { ledger, mails } = outside;
        Ok(Self { last_id: ledger.last_id()?, sums: ledger.sums()?, mails: mails.mails().len() })
    }

    /// Waits until all has left the outbox, and answers what came since.
    fn since(self, outside: &Outside, figures: Figures) -> Result<Once> {
        let Outside { ledger, mails } = outside;
        let mut unsent = 0;
        let waited = waiting::until("the outbox is empty", DRAIN_LIMIT, || {
            unsent = ledger.unsent()?;
            Ok((unsent == 0).then_some(()))
        });
        if let Err(error) = waited {
            say(&format!("{error:#}"));
        }
        Ok(Once {
            rows: ledger.rows_after(self.last_id)?,
            before: self.sums,
            after: ledger.sums()?,
            mails: mails.mails().into_iter().skip(self.mails).collect(),
            unsent,
            figures,
        })
    }
}

/// Saves what a failed round left, in a folder of its own.
///
/// # Errors
/// When it cannot be written.
pub fn save(folder: &Path, plan: &Plan, outcome: &Outcome, findings: &[String]) -> Result<()> {
    let folder = folder.join("failed-round");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("plan.json"), serde_json::to_string_pretty(plan)?)?;
    std::fs::write(folder.join("findings.txt"), findings.join("\n") + "\n")?;
    outcome.evidence.save(&folder).context("the evidence could not be written down")
}
