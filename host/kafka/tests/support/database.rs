//! A handler's write database for tests: what it must hold to, in memory. Hosts reach it by connections of
//! their own, which a test may hold up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use keylane_engine::{
    Boxed, Claims, ClaimsError, DeadLetter, Epoch, Event, Fence, GapSet, Hold, LogPosition, TopicId,
    TopicPartition,
};
use tokio::sync::watch;

/// A stream: topic, its id, partition.
type Key = (String, [u8; 16], i32);

/// What the database has of one partition.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    pub epoch: i64,
    pub floor: Option<i64>,
    pub claims: BTreeSet<i64>,
    pub position: Option<LogPosition>,
}

#[derive(Debug, Default)]
struct Tables {
    /// By number.
    streams: Vec<(Key, Stream)>,
    /// The effects of events, in the order of their commits.
    effects: Vec<(i32, i64)>,
    takes: usize,
    offers: Vec<Vec<(i32, i64)>>,
    /// What it answers instead of doing anything.
    failing: Option<ClaimsError>,
    /// How many commits go through and are not acknowledged.
    unknown_commits: usize,
}

/// The database. Clones share it.
#[derive(Debug, Clone)]
pub struct Database {
    id: Arc<str>,
    tables: Arc<Mutex<Tables>>,
}

/// One host's way to it.
#[derive(Debug, Clone)]
pub struct Connection {
    database: Database,
    /// Takes and settlings wait while it is closed.
    is_open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Database {
    /// An empty one.
    pub fn new() -> Self {
        let digits: String = super::unique("").bytes().map(|byte| format!("{byte:02x}")).collect();
        let id = digits.get(digits.len() - 32..).unwrap().into();
        Self { id, tables: Arc::default() }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// What a commit beside it says.
    pub fn payload(&self) -> String {
        format!("D{}", self.id)
    }

    pub fn connect(&self) -> Connection {
        Connection {
            database: self.clone(),
            is_open: watch::Sender::new(true),
            waiting: watch::Sender::new(0),
        }
    }

    /// From now on it answers this, or again what it should.
    pub fn fail(&self, failing: Option<ClaimsError>) {
        self.tables.lock().unwrap().failing = failing;
    }

    /// So many of the next commits are not acknowledged, though they go through.
    pub fn lose_acknowledgements(&self, commits: usize) {
        self.tables.lock().unwrap().unknown_commits = commits;
    }

    /// It is as it was before the handler's first event: restored from a backup that old.
    pub fn set_back(&self) {
        let mut tables = self.tables.lock().unwrap();
        (tables.streams, tables.effects) = (Vec::new(), Vec::new());
    }

    /// The offsets whose effects are there, sorted, repeats included.
    pub fn effects(&self, partition: i32) -> Vec<i64> {
        let tables = self.tables.lock().unwrap();
        let of_it = tables.effects.iter().filter(|(of, _)| *of == partition);
        let mut offsets: Vec<i64> = of_it.map(|(_, offset)| *offset).collect();
        offsets.sort_unstable();
        offsets
    }

    pub fn effects_count(&self) -> usize {
        self.tables.lock().unwrap().effects.len()
    }

    pub fn takes(&self) -> usize {
        self.tables.lock().unwrap().takes
    }

    pub fn offers(&self) -> Vec<Vec<(i32, i64)>> {
        self.tables.lock().unwrap().offers.clone()
    }

    /// Changes what it has of a partition, under whatever id its topic has.
    pub fn change(&self, partition: i32, mut change: impl FnMut(&mut Stream)) {
        let mut tables = self.tables.lock().unwrap();
        for (_, stream) in tables.streams.iter_mut().filter(|(key, _)| key.2 == partition) {
            change(stream);
        }
    }

    /// Another one takes the partition, whoever that may be.
    pub fn overtake(&self, partition: i32) {
        self.change(partition, |stream| stream.epoch += 1);
    }

    /// A run's transaction: effects and claims, if the fence still stands.
    pub fn commit(&self, fence: Fence, events: &[Arc<Event>]) -> Result<(), ClaimsError> {
        let mut tables = self.tables.lock().unwrap();
        let stream = tables.owned(fence)?;
        for event in events {
            let floor = stream.floor.unwrap();
            assert!(event.offset >= floor, "offset {} has ended: the floor is {floor}", event.offset);
            assert!(stream.claims.insert(event.offset), "offset {} has ended", event.offset);
        }
        tables.effects.extend(events.iter().map(|event| (event.source.partition, event.offset)));
        if tables.unknown_commits > 0 {
            tables.unknown_commits -= 1;
            return Err(ClaimsError::Unknown("the connection broke at COMMIT".to_owned()));
        }
        Ok(())
    }
}

impl Tables {
    fn number(&mut self, key: &Key) -> usize {
        self.streams.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            self.streams.push((key.clone(), Stream::default()));
            self.streams.len() - 1
        })
    }

    fn owned(&mut self, fence: Fence) -> Result<&mut Stream, ClaimsError> {
        if let Some(failing) = &self.failing {
            return Err(failing.clone());
        }
        let stream = &mut self.streams.get_mut(usize::try_from(fence.stream).unwrap()).unwrap().1;
        if stream.epoch == fence.epoch.count { Ok(stream) } else { Err(ClaimsError::NotOwner) }
    }

    fn take(&mut self, key: &Key) -> Result<Option<Hold>, ClaimsError> {
        if let Some(failing) = &self.failing {
            return Err(failing.clone());
        }
        self.takes += 1;
        let number = self.number(key);
        let stream = &mut self.streams.get_mut(number).unwrap().1;
        stream.epoch += 1;
        let fence = Fence {
            stream: i64::try_from(number).unwrap(),
            replay: 0,
            epoch: Epoch { count: stream.epoch, nonce: stream.epoch },
        };
        let position = stream.position;
        Ok(stream.floor.map(|floor| {
            let restored = gap(floor, &stream.claims);
            Hold { fence, restored, floor, position }
        }))
    }

    fn settle(
        &mut self,
        topic: &str,
        topic_id: TopicId,
        offered: &[(i32, i64)],
    ) -> Result<BTreeMap<i32, i64>, ClaimsError> {
        if let Some(failing) = &self.failing {
            return Err(failing.clone());
        }
        self.offers.push(offered.to_vec());
        let known = self.streams.iter().any(|(key, stream)| key.0 == topic && stream.floor.is_some());
        let mut stands = BTreeMap::new();
        for (partition, offset) in offered {
            let number = self.number(&(topic.to_owned(), *topic_id.bytes(), *partition));
            let stream = &mut self.streams.get_mut(number).unwrap().1;
            let floor = *stream.floor.get_or_insert(if known { 0 } else { *offset });
            stands.insert(*partition, floor);
        }
        Ok(stands)
    }
}

fn gap(floor: i64, claims: &BTreeSet<i64>) -> GapSet {
    let mut gap = GapSet::at(floor);
    for claim in claims.iter().copied().filter(|claim| *claim >= floor) {
        match gap.ended.last_mut() {
            None if claim == gap.base => gap.base += 1,
            Some(last) if last.end == claim => last.end += 1,
            _ => gap.ended.push(claim..claim + 1),
        }
    }
    gap
}

impl Connection {
    /// From now on takes and settlings through it wait.
    pub fn close(&self) {
        self.is_open.send_replace(false);
    }

    pub fn open(&self) {
        self.is_open.send_replace(true);
    }

    /// How many takes and settlings wait in it; those that were given up do not.
    pub fn waiting(&self) -> usize {
        *self.waiting.borrow()
    }

    async fn asked<T>(
        &self,
        answer: impl FnOnce(&mut Tables) -> Result<T, ClaimsError>,
    ) -> Result<T, ClaimsError> {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let _waits = Waits(&self.waiting);
        self.is_open.subscribe().wait_for(|is_open| *is_open).await.unwrap();
        answer(&mut self.database.tables.lock().unwrap())
    }
}

/// Counts one less when it is dropped.
struct Waits<'a>(&'a watch::Sender<usize>);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Claims for Connection {
    fn database(&self) -> &str {
        &self.database.id
    }

    fn settle<'a>(
        &'a self,
        topic: &'a str,
        topic_id: TopicId,
        offered: &'a [(i32, i64)],
    ) -> Boxed<'a, Result<BTreeMap<i32, i64>, ClaimsError>> {
        Box::pin(self.asked(move |tables| tables.settle(topic, topic_id, offered)))
    }

    fn take<'a>(
        &'a self,
        partition: &'a TopicPartition,
        topic_id: TopicId,
    ) -> Boxed<'a, Result<Option<Hold>, ClaimsError>> {
        let key = (partition.topic.to_string(), *topic_id.bytes(), partition.partition);
        Box::pin(self.asked(move |tables| tables.take(&key)))
    }

    fn bury(&self, _: Fence, letter: DeadLetter) -> Boxed<'_, Result<(), ClaimsError>> {
        panic!("nothing is to die here: {letter:?}")
    }

    fn skip(&self, fence: Fence, offset: i64) -> Boxed<'_, Result<(), ClaimsError>> {
        Box::pin(async move {
            self.database.tables.lock().unwrap().owned(fence)?.claims.insert(offset);
            Ok(())
        })
    }

    fn raise_floor(
        &self,
        fence: Fence,
        floor: i64,
        position: Option<LogPosition>,
    ) -> Boxed<'_, Result<bool, ClaimsError>> {
        Box::pin(async move {
            let mut tables = self.database.tables.lock().unwrap();
            let stream = tables.owned(fence)?;
            if stream.floor < Some(floor) {
                (stream.floor, stream.position) = (Some(floor), position);
            }
            stream.claims.retain(|claim| *claim >= floor);
            Ok(false)
        })
    }
}
