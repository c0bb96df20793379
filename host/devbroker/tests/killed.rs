//! A broker killed with SIGKILL again and again under a producer with transactions: each of them is whole, in
//! both partitions and in the group's offset, or not there at all.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail by panicking")]

mod requests;
mod txn;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use keylane_devbroker::Broker;
use keylane_test_support::RawClient;
use requests::{committed, create, end_offset, in_folder};
use txn::{Txn, fetch, stable_offset};

/// Where the other process keeps its files and tells its address; set for it alone.
const FOLDER: &str = "KEYLANE_TEST_BROKER_FOLDER";
const KILLS: u32 = 12;
/// Time between two kills: several transactions, and never the same moment of one.
const KILL_EVERY: Duration = Duration::from_millis(173);
const LONG: Duration = Duration::from_secs(60);

#[test]
#[ignore = "it is the broker of the test below, which starts and kills it"]
fn the_broker_to_be_killed() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = Broker::start(in_folder(&folder.join("data"))).await.unwrap();
        std::fs::write(folder.join("address.new"), broker.bootstrap()).unwrap();
        std::fs::rename(folder.join("address.new"), folder.join("address")).unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
    });
}

/// Starts the other process: it and its address.
fn start(folder: &Path) -> (Child, String) {
    let address = folder.join("address");
    let _first_time = std::fs::remove_file(&address);
    let mut broker = Command::new(std::env::current_exe().unwrap());
    let broker = broker.args(["--exact", "the_broker_to_be_killed", "--ignored"]).env(FOLDER, folder);
    let broker = broker.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + LONG;
    while !address.exists() {
        assert!(Instant::now() < until, "the broker did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    (broker, std::fs::read_to_string(address).unwrap())
}

/// The broker's process, and whoever kills it.
struct Victim {
    folder: PathBuf,
    broker: Arc<Mutex<Child>>,
    client: RawClient,
}

impl Victim {
    /// Does one step, again on a new broker whenever the old one dies meanwhile.
    fn step<T>(&mut self, mut work: impl FnMut(&mut RawClient) -> T) -> T {
        loop {
            if let Ok(done) = catch_unwind(AssertUnwindSafe(|| work(&mut self.client))) {
                return done;
            }
            let mut broker = self.broker.lock().unwrap();
            assert!(broker.try_wait().unwrap().is_some(), "a step failed though nobody killed the broker");
            let (child, address) = start(&self.folder);
            *broker = child;
            self.client = RawClient::connect(&address).unwrap();
        }
    }
}

/// Kills the broker a number of times; answers when it has.
fn killer(broker: &Arc<Mutex<Child>>) -> std::thread::JoinHandle<()> {
    let broker = Arc::clone(broker);
    std::thread::spawn(move || {
        for _ in 0..KILLS {
            std::thread::sleep(KILL_EVERY);
            let mut broker = broker.lock().unwrap();
            broker.kill().unwrap();
            broker.wait().unwrap();
        }
    })
}

#[test]
fn transactions_are_whole_whenever_the_broker_is_killed() {
    // Each kill shows as a panic of a step, which is caught.
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(kill_and_look);
    drop(std::panic::take_hook());
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn kill_and_look() {
    let folder = tempfile::tempdir().unwrap();
    let (child, address) = start(folder.path());
    let broker = Arc::new(Mutex::new(child));
    let client = RawClient::connect(&address).unwrap();
    let mut victim = Victim { folder: folder.path().to_owned(), broker: Arc::clone(&broker), client };
    assert_eq!(victim.step(create), 0);
    let killer = killer(&broker);
    let txn = victim.step(|client| Txn::begin(client, "x", 600_000));
    let mut transactions = 0;
    while !killer.is_finished() {
        one_transaction(&mut victim, &txn, transactions);
        transactions += 1;
    }
    killer.join().unwrap();
    victim.step(|client| look(client, transactions));
    let mut broker = broker.lock().unwrap();
    broker.kill().unwrap();
    broker.wait().unwrap();
}

/// A record in each partition and the group's offset, all or none of it.
fn one_transaction(victim: &mut Victim, txn: &Txn, number: i32) {
    for partition in 0..2 {
        assert_eq!(victim.step(|client| txn.add(client, partition)), 0);
        // Sent again after a kill it may be stored already: the offset is then the old one.
        let value = format!("value {number}");
        assert_eq!(victim.step(|client| txn.produce_to(client, partition, &value, number)).0, 0);
    }
    assert_eq!(victim.step(|client| txn.add_group(client)), 0);
    assert_eq!(victim.step(|client| txn.commit(client, i64::from(number))), 0);
    // Asked again after a kill, the broker says whether it had ended so.
    assert_eq!(victim.step(|client| txn.end(client, is_committed(number))), 0);
}

fn is_committed(number: i32) -> bool {
    number % 3 != 1
}

/// Two offsets for each transaction, a record's and a marker's, in both partitions; every third one aborted.
fn look(client: &mut RawClient, transactions: i32) {
    assert!(transactions > i32::try_from(KILLS).unwrap(), "only {transactions} transactions");
    let aborted: Vec<i64> =
        (0..transactions).filter(|n| !is_committed(*n)).map(|n| i64::from(n) * 2).collect();
    for partition in 0..2 {
        let data = fetch(client, partition);
        let end = i64::from(transactions) * 2;
        assert_eq!((data.high_watermark, data.last_stable_offset), (end, end));
        let listed = data.aborted_transactions.unwrap();
        assert_eq!(listed.iter().map(|one| one.first_offset).collect::<Vec<_>>(), aborted);
    }
    let last = (0..transactions).rfind(|n| is_committed(*n)).unwrap();
    assert_eq!(committed(client).0, i64::from(last));
    assert_eq!(end_offset(client), stable_offset(client));
}
