//! How long one record takes when nothing else is to be done: from before it is sent until its rows are
//! committed, and until what the handler tells can be read.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use keylane_e2e::broker::Broker as _;
use keylane_e2e::offsets::Onlooker;
use keylane_e2e::plain::PlainClient;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

use super::engine::{Engine, Task};
use super::figures::Single;
use super::input::{self, Draws};
use super::plan::{Contender, Rows};
use super::produced::Produced;
use super::stage::Stage;
use super::store::{CommitCost, Store};
use super::watch::Watch;
use crate::books::{BALANCES, Balance};

/// Records that are sent before any is measured.
const WARM_UP: u32 = 20;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Time between the end of one record and the next.
const REST: Duration = Duration::from_millis(20);

/// What one record took.
struct Took {
    committed: Duration,
    read: Duration,
}

/// Whatever looks at one engine.
struct Look<'stage> {
    stage: &'stage Stage,
    producer: FutureProducer,
    topic: String,
    watch: Watch<'stage>,
    produced: Produced,
}

/// Measures one engine on an empty database and an empty topic.
///
/// # Errors
/// When it does not work.
pub(super) fn measure(
    stage: &Stage,
    store: &mut Store,
    contender: Contender,
    commit: CommitCost,
    round: u32,
) -> Result<Single> {
    let (place, fleet) = (store.fresh()?, stage.next_fleet());
    let topic = format!("{fleet}-singles");
    PlainClient::new(&stage.broker).create_topics(&[&topic], stage.plan.partitions)?;
    let ends = Onlooker::new(&stage.broker).ends(BALANCES)?;
    let task = Task {
        broker: &stage.broker,
        topic: &topic,
        fleet: &fleet,
        accounts: stage.plan.accounts(),
        limits: &stage.plan.limit,
    };
    let mut engine = Engine::start(&stage.runtime, contender, &task, &place)?;
    let producer = ClientConfig::new()
        .set("bootstrap.servers", &stage.broker)
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0")
        .create()?;
    let mut look = Look {
        stage,
        producer,
        watch: Watch::open(&stage.runtime, &place, contender)?,
        produced: Produced::behind(&stage.broker, BALANCES, &ends)?,
        topic: topic.clone(),
    };
    let mut draws = Draws::of(&stage.plan);
    let mut took = Vec::new();
    for number in 0..WARM_UP + stage.plan.singles {
        engine.must_run()?;
        let one = look.one(&mut draws, u64::from(number))?;
        if number >= WARM_UP {
            took.push(one);
        }
        std::thread::sleep(REST);
    }
    engine.end()?;
    let committed = took.iter().map(|took| took.committed).collect();
    let read = took.iter().map(|took| took.read).collect();
    Ok(Single::new((store.kind, contender, commit, round), committed, read))
}

impl Look<'_> {
    /// Sends one record and waits for its effects.
    fn one(&mut self, draws: &mut Draws, number: u64) -> Result<Took> {
        let (key, value) = draws.next(number, Rows::OfItsKey)?;
        let record = FutureRecord::to(&self.topic).key(&key).payload(&value).headers(input::headers());
        let began = Instant::now();
        let sent = self.stage.runtime.block_on(self.producer.send(record, Timeout::Never));
        let delivered = sent.map_err(|(error, _)| error)?;
        let (mut committed, mut read) = (None, None);
        while committed.is_none() || read.is_none() {
            ensure!(began.elapsed() < LIMIT, "record {number}: committed {committed:?}, read {read:?}");
            if committed.is_none() && self.watch.has(delivered.partition, delivered.offset)? {
                committed = Some(began.elapsed());
            }
            while let Some(balance) = self.produced.next::<Balance>(Duration::ZERO)? {
                if balance.number == number {
                    read = Some(began.elapsed());
                }
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let (committed, read) = committed.zip(read).context("no time")?;
        Ok(Took { committed, read })
    }
}
