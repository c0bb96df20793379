//! The main scenario: the task exchange's events go through a host that is killed twice, then everything
//! it left behind is judged: every entry, published fact and dead letter is there once, and every mail; only one
//! that was under way at a kill may be there twice.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use keylane_test_support::{SmtpServer, waiting};

use crate::broker::{Broker, Stored, Subscription, Writer};
use crate::check::books::Books;
use crate::check::{analytics, dead_letters, facts, mail, order, same};
use crate::deployment::{Deployment, EXCHANGE, Settings};
use crate::effects::{self, Ended};
use crate::expected::{Expected, partition_of};
use crate::host::{self, Process};
use crate::offsets::Onlooker;
use crate::sqlite::Database;
use crate::story::{self, CLOSES_LAST, CLOSES_MIDWAY, DAYS, Scale, Story, TASKS};

/// The topics of the exchange, all of which exist before a host starts.
const TOPICS: [&str; 5] = [TASKS, DAYS, facts::ENTRIES, facts::PAYOUTS, "accounting-commands"];
/// Partitions of each.
const PARTITIONS: i32 = 6;
/// How often the host is killed.
const KILLS: usize = 2;
/// How many workers were paid when the host is killed for the first time.
const PAID_BEFORE_KILL: i64 = 10;
/// How long any step may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// How long a host may take to finish and end: its drain limit and something for the end itself.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Says how far a scenario is. Written to standard error itself, so that the test runner does not keep it.
pub fn say(text: &str) {
    // Nobody is left to tell when standard error itself is closed.
    let _ = writeln!(std::io::stderr(), "e2e: {text}");
}

/// Runs it on a broker that has none of its topics yet.
///
/// # Errors
/// The first thing that went wrong.
pub fn run(broker: &dyn Broker, scale: Scale) -> Result<()> {
    say(&format!("{} tasks of {} workers, seed {}", scale.tasks, scale.workers, scale.seed));
    let story = story::tell(scale);
    broker.create_topics(&TOPICS, PARTITIONS)?;
    let mails = SmtpServer::start()?;
    let settings = Settings { mail_port: Some(mails.port()), ..Settings::default() };
    let deployment = Deployment::with(broker.bootstrap(), "e2e", &EXCHANGE, &settings)?;
    let movements = i64::try_from(story.movements())?;
    let exchange = Exchange { broker, story, deployment, mails, movements };
    exchange.play_and_judge().map_err(|error| {
        let kept = exchange.deployment.keep();
        error.context(format!("databases and logs are left in {}", kept.display()))
    })
}

struct Exchange<'broker> {
    broker: &'broker dyn Broker,
    story: Story,
    deployment: Deployment,
    mails: SmtpServer,
    /// How many fees and rewards the story makes.
    movements: i64,
}

/// What was found when a host had been killed.
struct Killed {
    /// Events that had ended above what their groups had committed: so many would be repeated by a host that goes
    /// by its group.
    to_repeat: i64,
    /// Mails that had been sent so far.
    mails: usize,
}

impl Exchange<'_> {
    fn subscriptions(&self) -> Vec<Subscription> {
        self.deployment.subscriptions()
    }

    /// Writes so many of the story's records, from this one on.
    fn write(&self, tasks: &mut dyn Writer, from: usize, to: usize) -> Result<()> {
        let records = self.story.records.get(from..to).unwrap_or_default();
        say(&format!("{} of {} records are written", records.len(), self.story.records.len()));
        tasks.write(records)
    }

    fn play_and_judge(&self) -> Result<()> {
        let (mut host, kills) = self.work_and_kill()?;
        ensure!(
            kills.iter().any(|killed| killed.to_repeat > 0),
            "no kill found anything done that was not committed: that shows little"
        );
        self.close_the_last_day().with_context(|| host.last_words())?;
        stop(&mut host)?;
        self.committed_offsets_are_complete()?;
        self.judge(&kills)
    }

    /// Starts the host on the first part of the story, closes a day while it works, kills it amid the payouts;
    /// kills the next one amid the rest of the story. Answers the third host, and what the kills
    /// found.
    fn work_and_kill(&self) -> Result<(Process, [Killed; KILLS])> {
        let (all, part) = (self.story.records.len(), self.story.records.len() * 3 / 5);
        let mut tasks = self.broker.writer(TASKS)?;
        self.write(tasks.as_mut(), 0, part)?;
        let mut days = self.broker.writer(DAYS)?;
        // Outlives the hosts: taking it down takes as long as a host needs for a good part of the work.
        let mut onlooker = Onlooker::new(self.broker.bootstrap());
        let first = self.start_and_work("host-1.log", self.movements / 6, &mut onlooker)?;
        days.write(&[story::day_closed(CLOSES_MIDWAY)])?;
        self.until("some workers are paid", &first, || Ok(self.paid()? >= PAID_BEFORE_KILL))?;
        let first = self.kill(first)?;
        days.finish()?;
        self.write(tasks.as_mut(), part, all)?;
        tasks.finish()?;
        let posted = self.posted()?;
        let midway = posted + (self.movements - posted) / 4;
        let second = self.start_and_work("host-2.log", midway, &mut onlooker)?;
        let kills = [first, self.kill(second)?];
        Ok((host::start(&self.deployment, "host-3.log")?, kills))
    }

    /// Starts a host and waits until so many fees and rewards are posted in all, and until it has committed
    /// something itself: then a kill finds progress that the group knows and progress that it does not. The question for commits
    /// takes a broker longer than a quick host needs for all the rest, so the host stands still meanwhile;
    /// and where the first commit comes late, it is not waited for any longer than the work lasts.
    fn start_and_work(&self, log: &str, movements: i64, onlooker: &mut Onlooker) -> Result<Process> {
        let before = self.committed(onlooker)?;
        let host = host::start(&self.deployment, log)?;
        let latest = movements + (self.movements - movements) / 4;
        let worked = || {
            let posted = self.posted()?;
            let has_committed = || Ok(self.committed(onlooker)? > before);
            Ok(posted >= latest || (posted >= movements && host.while_it_stands_still(has_committed)?))
        };
        self.until(&format!("{movements} fees and rewards are posted"), &host, worked)?;
        Ok(host)
    }

    fn until(&self, what: &str, host: &Process, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        waiting::closely(what, LIMIT, || Ok(holds()?.then_some(()))).with_context(|| host.last_words())
    }

    /// What all groups have committed, over all partitions.
    fn committed(&self, onlooker: &mut Onlooker) -> Result<i64> {
        let positions = onlooker.positions(&self.subscriptions())?;
        Ok(positions.iter().filter_map(|position| position.committed).sum())
    }

    /// How many fees and rewards are in the books.
    fn posted(&self) -> Result<i64> {
        self.look("SELECT count(*) FROM entries WHERE kind != 'payout'")
    }

    /// How many payouts are in the books.
    fn paid(&self) -> Result<i64> {
        self.look("SELECT count(*) FROM entries WHERE kind = 'payout'")
    }

    /// Opened for each look: a look must not stand in the way of a host that comes back.
    fn look(&self, query: &'static str) -> Result<i64> {
        let file = self.deployment.database("accounting");
        // Until the first host has made its tables there is nothing in them.
        if !file.is_file() {
            return Ok(0);
        }
        let mut database = Database::open(&file)?;
        let tables = database.number("SELECT count(*) FROM sqlite_master WHERE name = 'entries'")?;
        if tables == 1 { database.number(query) } else { Ok(0) }
    }

    fn kill(&self, host: Process) -> Result<Killed> {
        host.kill()?;
        let mails = self.mails.taken_when_all_are_gone(LIMIT)?;
        let (posted, paid, unsent) = (self.posted()?, self.paid()?, effects::unsent(&self.deployment)?);
        say(&format!(
            "SIGKILL after {posted} of {} fees and rewards, {paid} payouts, {mails} mails; {unsent} rows in outboxes",
            self.movements
        ));
        ensure!(
            posted < self.movements,
            "the host had done everything before it was killed: that shows nothing"
        );
        let mut onlooker = Onlooker::new(self.broker.bootstrap());
        let mut to_repeat = 0;
        for subscription in self.subscriptions() {
            let positions = onlooker.positions(std::slice::from_ref(&subscription))?;
            let committed: i64 = positions.iter().filter_map(|position| position.committed).sum();
            let ends: i64 = positions.iter().map(|position| position.end).sum();
            let group = &subscription.group;
            let handler = group.rsplit('.').next().unwrap_or_default();
            let beyond = Ended::read(&self.deployment, handler)?.beyond(&positions);
            say(&format!(
                "    {group} has committed {committed} of {ends} records, {beyond} beyond have ended"
            ));
            to_repeat += beyond;
        }
        Ok(Killed { to_repeat, mails })
    }

    /// When all else is done, the last day closes; then all of that is done too.
    fn close_the_last_day(&self) -> Result<()> {
        let mut onlooker = Onlooker::new(self.broker.bootstrap());
        effects::until_all_is_done(&self.deployment, &mut onlooker, LIMIT)?;
        say(&format!("all is done; {CLOSES_LAST} closes"));
        let mut days = self.broker.writer(DAYS)?;
        days.write(&[story::day_closed(CLOSES_LAST)])?;
        days.finish()?;
        effects::until_all_is_done(&self.deployment, &mut onlooker, LIMIT)
    }

    /// Read with the broker's own tools where there are some: every partition of every group is at its end.
    fn committed_offsets_are_complete(&self) -> Result<()> {
        let positions = self.broker.positions(&self.subscriptions())?;
        let topics: usize = self.subscriptions().iter().map(|subscription| subscription.topics.len()).sum();
        let wanted = topics * usize::try_from(PARTITIONS)?;
        ensure!(positions.len() == wanted, "{} positions of {wanted}: {positions:?}", positions.len());
        for position in &positions {
            ensure!(position.committed == Some(position.end), "not complete: {position:?}");
        }
        say(&format!("{} partitions are committed to their ends", positions.len()));
        Ok(())
    }

    fn judge(&self, kills: &[Killed; KILLS]) -> Result<()> {
        let tasks = self.broker.read(TASKS)?;
        let mut written = self.story.records.clone();
        let mut stored: Vec<_> = tasks.iter().map(|stored| stored.record.clone()).collect();
        written.sort();
        stored.sort();
        same(TASKS, &stored, &written).context("what lies in the topic is not what was written")?;
        for Stored { partition, record, .. } in &tasks {
            let placed = record.key.as_deref().is_none_or(|key| partition_of(key, PARTITIONS) == *partition);
            ensure!(placed, "the test's own murmur2 disagrees with the client's: {record:?}");
        }
        let expected = Expected::of(&tasks, &self.story.broken)?;
        let books = Books::read(&self.deployment.database("accounting"))?;
        books.check(&expected).context("the books")?;
        let (entries, payouts) = (self.broker.read(facts::ENTRIES)?, self.broker.read(facts::PAYOUTS)?);
        facts::check(&books, &entries, &payouts, PARTITIONS)?;
        let again = self.check_mails(&payouts, kills)?;
        analytics::check(&books, &expected, &self.deployment.database("analytics")).context("analytics")?;
        for handler in dead_letters::HANDLERS {
            let letters = self.broker.read(&dead_letters::topic(handler))?;
            dead_letters::check(handler, &letters, &self.story.broken, &tasks)?;
        }
        let seen: [(&str, &[Stored]); 2] = [(TASKS, &tasks), (facts::ENTRIES, &entries)];
        order::check(&self.deployment.database("recorder"), &seen).context("order")?;
        let paid = |day: &str| books.payouts().filter(|payout| payout.day == day).count();
        say(&format!(
            "all is right after {KILLS} kills: {} entries, {} and {} payouts, each once in the books and in its topic; each \
             mail came, none twice but {again} that were under way at a kill",
            books.entries.len(),
            paid(CLOSES_MIDWAY),
            paid(CLOSES_LAST),
        ));
        Ok(())
    }

    /// Answers how many mails came again.
    fn check_mails(&self, payouts: &[Stored], kills: &[Killed; KILLS]) -> Result<usize> {
        let mails = self.mails.mails();
        let [first, second] = kills.each_ref().map(|killed| killed.mails);
        let (of_both, of_third) = mails.split_at(second);
        let (of_first, of_second) = of_both.split_at(first);
        mail::check(payouts, &[of_first, of_second, of_third])
    }
}

/// SIGTERM: the host drains, says its phases and ends with 0.
fn stop(host: &mut Process) -> Result<()> {
    host.terminate()?;
    let status = host.wait(END_LIMIT)?;
    ensure!(status.success(), "after SIGTERM it ended with {status}; {}", host.last_words());
    let phases = host.phases()?;
    ensure!(
        phases == ["starting", "assigned", "running", "draining", "stopped"],
        "its phases were {phases:?}"
    );
    Ok(())
}
