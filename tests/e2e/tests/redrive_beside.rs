//! Redrives to a handler that is exactly once beside its database: its letters leave by the outbox, and what
//! `keylane dlq redrive` gives back is read from the beginning of the retry topic although the handler starts at
//! the end of its own. Each is handled once, and what fails again is buried with its first origin.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::{Broker, Record, Stored, Subscription};
use keylane_e2e::deployment::{Deployment, Part, Settings};
use keylane_e2e::dev_broker::DevBroker;
use keylane_e2e::effects::unsent;
use keylane_e2e::fleet::{COPIES, LIMIT, TOKEN, until_each_reads};
use keylane_e2e::host;
use keylane_e2e::member::Host;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use keylane_e2e::sqlite::Database;
use keylane_test_support::waiting;
use tempfile::TempDir;

const BOOKING: [Part; 1] = [Part { folder: "tests/e2e/booking" }];
const HANDLER: &str = "booking";
const PAYMENTS: &str = "payments";
const RETRIES: &str = "payments.booking.retry";
const LETTERS: &str = "payments.booking.dlq";
const PARTITIONS: i32 = 3;
const KEYS: usize = 7;

/// Payments that were there before any host, and are nobody's: a host begins at the end.
const PASSED_OVER: usize = 20;
/// Payments that come while the first fleet's host runs.
const NUMBERS: std::ops::Range<usize> = PASSED_OVER..80;
/// One that comes when all letters are where they belong.
const LAST: usize = 80;

/// What becomes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Booked,
    /// Its account is not there before a later migration.
    Late,
    Hopeless,
}

fn fate(number: usize) -> Fate {
    match number % 4 {
        1 => Fate::Late,
        2 => Fate::Hopeless,
        _ => Fate::Booked,
    }
}

/// The numbers of those that came while a host ran and have this fate.
fn numbers(wanted: Fate) -> Vec<i64> {
    let of_it = NUMBERS.filter(|number| fate(*number) == wanted);
    of_it.filter_map(|number| i64::try_from(number).ok()).collect()
}

/// Those that fail at first.
fn failed() -> Vec<i64> {
    [numbers(Fate::Late), numbers(Fate::Hopeless)].concat()
}

fn payment(number: usize) -> Record {
    let book = |account| {
        format!(
            "do INSERT INTO booked (payment, account) \
             VALUES ({number}, (SELECT name FROM account WHERE name = '{account}'))"
        )
    };
    let value = match fate(number) {
        Fate::Booked => book("open"),
        Fate::Late => book("late"),
        Fate::Hopeless => "reject there is no such bank".to_owned(),
    };
    let key = Some(format!("payer-{}", number % KEYS));
    Record { key, value: Some(value), headers: vec![("number".to_owned(), number.to_string())] }
}

/// A broker with the payments, and what all fleets on it have in common.
struct Scene {
    broker: DevBroker,
    client: PlainClient,
    _folder: TempDir,
}

/// A fleet of that handler, with a database of its own.
struct Fleet<'a> {
    scene: &'a Scene,
    name: &'static str,
    deployment: Deployment,
}

#[test]
fn letters_come_back_to_a_handler_that_starts_at_the_end_once_each() -> Result<()> {
    let scene = Scene::new()?;
    scene.write(0..PASSED_OVER)?;
    let former = scene.fleet("former")?;
    let home = buried_by_the_relay(&scene, &former)?;

    // The handler moves to another fleet with an empty database. What was wrong is mended, and the letters are
    // given back before anybody of it has ever read the retry topic.
    let (late, hopeless) = (numbers(Fate::Late), numbers(Fate::Hopeless).len());
    let heirs = scene.fleet("heirs")?;
    heirs.mend()?;
    ensure!(heirs.redrive()? == failed().len(), "not all letters are given back");
    let first = heirs.start("host-1.log")?;
    heirs.until_all_has_ended(&first)?;
    heirs.has_booked(&late)?;
    scene.check_letters(1, &home)?;

    // What failed again is given back beside the running host, and once more while none runs.
    ensure!(heirs.redrive()? == hopeless, "not all letters are given back to a host that runs");
    heirs.until_all_has_ended(&first)?;
    scene.check_letters(2, &home)?;
    first.stop()?;
    ensure!(heirs.redrive()? == hopeless, "not all letters are given back while no host runs");
    let second = heirs.start("host-2.log")?;
    scene.write(LAST..LAST + 1)?;
    heirs.until_all_has_ended(&second)?;
    scene.check_letters(3, &home)?;
    nothing_is_done_twice(&heirs, second)
}

/// Events fail for good beside the former fleet's database; their letters are rows of its outbox before they are
/// in the topic. Answers where the payments lie in the handler's own topic.
fn buried_by_the_relay(scene: &Scene, former: &Fleet<'_>) -> Result<Origins> {
    let host = former.start("host.log")?;
    scene.write(NUMBERS)?;
    former.until_all_has_ended(&host)?;
    host.stop()?;
    former.has_booked(&numbers(Fate::Booked))?;
    let home = origins_of(&scene.client.read(PAYMENTS)?, place_of)?;
    scene.check_letters(0, &home)?;
    let (rows, letters) = (former.rows_of_the_outbox()?, failed().len());
    ensure!(usize::try_from(rows)? == letters, "{rows} rows of the outbox for {letters} letters");
    Ok(home)
}

/// The second host has gone on where the first one was: it has done the last payment, buried what was given back
/// while none ran, and nothing else.
fn nothing_is_done_twice(heirs: &Fleet<'_>, host: Host) -> Result<()> {
    let mut expected = numbers(Fate::Late);
    expected.push(i64::try_from(LAST)?);
    heirs.has_booked(&expected)?;
    let metrics = host.metrics()?;
    let counted = |name: &str| metrics.sum(name, &[("handler", HANDLER)]);
    let (done, buried) =
        (counted("keylane_events_done_total"), counted("keylane_events_dead_lettered_total"));
    let hopeless = numbers(Fate::Hopeless).len();
    ensure!(done == 1.0 && buried == hopeless as f64, "the second host has done {done} and buried {buried}");
    let rows = heirs.rows_of_the_outbox()?;
    ensure!(usize::try_from(rows)? == 3 * hopeless, "{rows} rows for {hopeless} letters, thrice");
    host.stop()
}

impl Scene {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let broker = DevBroker::start(folder.path())?;
        let client = PlainClient::new(&broker.bootstrap);
        client.create_topics(&[PAYMENTS, COPIES], PARTITIONS)?;
        Ok(Self { broker, client, _folder: folder })
    }

    fn write(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        let mut writer = self.client.writer(PAYMENTS)?;
        writer.write(&numbers.map(payment).collect::<Vec<_>>())?;
        writer.finish()
    }

    fn fleet(&self, name: &'static str) -> Result<Fleet<'_>> {
        let settings = Settings { token: Some(TOKEN.to_owned()), ..Settings::default() };
        let deployment = Deployment::with(&self.broker.bootstrap, name, &BOOKING, &settings)?;
        Ok(Fleet { scene: self, name, deployment })
    }

    /// There are letters of each round of redrives up to this one, each payment's once, and all of them tell
    /// where it lies in the handler's own topic. So does what was given back.
    fn check_letters(&self, redrives: usize, home: &Origins) -> Result<()> {
        let (letters, given_back) = (self.client.read(LETTERS)?, self.client.read(RETRIES)?);
        for round in 0..=redrives {
            let buried = if round == 0 { failed() } else { numbers(Fate::Hopeless) };
            check_round(&letters, round, &buried, home).context("letters")?;
            let sent = match round {
                0 => Vec::new(),
                1 => failed(),
                _ => numbers(Fate::Hopeless),
            };
            check_round(&given_back, round, &sent, home).context("what was given back")?;
        }
        let later = letters.iter().chain(&given_back).find(|one| round_of(one) > redrives);
        ensure!(later.is_none(), "given back more often than that: {later:?}");
        Ok(())
    }
}

/// By a payment's number, where it says or is known to have come from.
type Origins = BTreeMap<i64, (i32, i64)>;

fn origins_of(records: &[Stored], origin: impl Fn(&Stored) -> Result<(i32, i64)>) -> Result<Origins> {
    let mut origins = Origins::new();
    for stored in records {
        let number = stored.record.header("number").context("no number")?.parse()?;
        ensure!(origins.insert(number, origin(stored)?).is_none(), "{number} is there twice: {stored:?}");
    }
    Ok(origins)
}

fn place_of(stored: &Stored) -> Result<(i32, i64)> {
    Ok((stored.partition, stored.offset))
}

/// Where it says that it came from first.
fn told_by(stored: &Stored) -> Result<(i32, i64)> {
    let said = |name: &str| stored.record.header(name).with_context(|| format!("no {name}: {stored:?}"));
    ensure!(said("keylane-origin-topic")? == PAYMENTS, "from another topic: {stored:?}");
    Ok((said("keylane-origin-partition")?.parse()?, said("keylane-origin-offset")?.parse()?))
}

/// How often it has been given back.
fn round_of(stored: &Stored) -> usize {
    stored.record.header("keylane-redrives").and_then(|count| count.parse().ok()).unwrap_or_default()
}

/// Of those that were given back so often there are these, once each, and with their first origins.
fn check_round(records: &[Stored], round: usize, expected: &[i64], home: &Origins) -> Result<()> {
    let of_round: Vec<Stored> = records.iter().filter(|one| round_of(one) == round).cloned().collect();
    let told = origins_of(&of_round, told_by)?;
    let wanted: Origins =
        home.iter().filter(|(number, _)| expected.contains(number)).map(|(n, at)| (*n, *at)).collect();
    ensure!(told == wanted, "after {round} redrives: {told:?}, not {wanted:?}");
    Ok(())
}

impl Fleet<'_> {
    /// Starts a host, and waits until it reads all partitions of both topics: where it starts is settled then.
    fn start(&self, log: &str) -> Result<Host> {
        let host = Host::of(&self.deployment, host::start(&self.deployment, log)?);
        until_each_reads(&[&host], &[2 * usize::try_from(PARTITIONS)?])?;
        Ok(host)
    }

    /// A migration brings what was missing.
    fn mend(&self) -> Result<()> {
        let file = self.deployment.folder().join(HANDLER).join("migrations/0002_late.sql");
        Ok(std::fs::write(file, "INSERT INTO account (name) VALUES ('late');")?)
    }

    /// Gives all letters back that were not before. Answers how many.
    fn redrive(&self) -> Result<usize> {
        let line = ["dlq", "redrive", HANDLER, "--config", "keylane.toml", "--json"];
        let (code, out, err) = host::command(&self.deployment, &line)?;
        ensure!(code == Some(0), "the redrive ended with {code:?}: {err}");
        let report: serde_json::Value = serde_json::from_str(&out).with_context(|| out.clone())?;
        let sent = report.get("sent").and_then(serde_json::Value::as_u64).context("no count")?;
        Ok(usize::try_from(sent)?)
    }

    /// Waits until the handler is at the end of both topics, and what it had in its outbox has left.
    fn until_all_has_ended(&self, host: &Host) -> Result<()> {
        let topics = vec![PAYMENTS.to_owned(), RETRIES.to_owned()];
        let reads = Subscription { group: format!("{}.{HANDLER}", self.name), topics };
        let done = Onlooker::new(&self.scene.broker.bootstrap).until_all_is_done(&[reads], LIMIT);
        done.with_context(|| host.process.last_words())?;
        let sent = waiting::until("the outbox is empty", LIMIT, || {
            Ok((unsent(&self.deployment)? == 0).then_some(()))
        });
        sent.with_context(|| host.process.last_words())
    }

    /// These payments are booked, once each, and no others.
    fn has_booked(&self, expected: &[i64]) -> Result<()> {
        let booked = self.database()?.numbers("SELECT payment FROM booked ORDER BY payment")?;
        ensure!(booked == expected, "{} has booked {booked:?}, not {expected:?}", self.name);
        Ok(())
    }

    /// How many rows the outbox has ever had.
    fn rows_of_the_outbox(&self) -> Result<i64> {
        self.database()?
            .number("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'keylane_outbox'")
    }

    fn database(&self) -> Result<Database> {
        Database::open(&self.deployment.database(HANDLER))
    }
}
