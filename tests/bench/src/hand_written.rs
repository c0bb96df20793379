//! The consumer written by hand: what a careful author would write in Rust for the same promise, as a process
//! of its own. One transaction for each record with a row that tells whether it was handled before, so many
//! at once, the records of a key one after another; an outbox, which leaves in batches; offsets are committed
//! up to the first record that is not done.
//!
//! It promises less than keylane: its outbox may send a record twice when it dies between sending and
//! deleting, and it knows no zombies.

mod progress;
mod relay;
mod worker;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::message::BorrowedMessage;
use tokio::sync::{Mutex, Notify, mpsc};

use crate::bare;
use crate::connection::Connection;
use progress::Progress;
use worker::{Delivered, Worker};

/// Records that wait for one worker.
const WAITING_MAX: usize = 1_000;
/// How long one poll waits for the next record.
const POLL: Duration = Duration::from_millis(10);
/// Time between two commits of offsets.
const COMMIT_EVERY: Duration = Duration::from_secs(1);

/// What it does.
#[derive(Debug, Args)]
pub(crate) struct HandWrittenArgs {
    #[arg(long)]
    pub(crate) broker: String,
    #[arg(long)]
    pub(crate) group: String,
    #[arg(long)]
    pub(crate) topic: String,
    #[arg(long)]
    pub(crate) database: String,
    /// Transactions at once
    #[arg(long)]
    pub(crate) workers: u32,
}

/// The place of a record that is done, or why nothing goes on.
type Done = Result<(i32, i64)>;

/// SQLite lets one write at a time. Waiting here is fair and costs nothing; waiting in SQLite is polling.
type Writer = Option<Arc<Mutex<()>>>;

/// The consumer itself. It goes on until it is killed.
///
/// # Errors
/// When anything fails: who starts it wants to know.
pub(crate) fn run(args: &HandWrittenArgs) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let writer: Writer = args.database.starts_with("sqlite:").then(Arc::default);
    let (done, ended) = channel::<Done>();
    let committed = Arc::new(Notify::new());
    let mut workers = Vec::new();
    for _ in 0..args.workers {
        let (worker, delivered) = mpsc::channel(WAITING_MAX);
        let connection = runtime.block_on(Connection::open(&args.database))?;
        let (writer, committed, done) = (writer.clone(), Arc::clone(&committed), done.clone());
        runtime.spawn(Worker { connection, writer, committed }.work(delivered, done));
        workers.push(worker);
    }
    let connection = runtime.block_on(Connection::open(&args.database))?;
    let broker = args.broker.clone();
    runtime.spawn(async move {
        if let Err(error) = relay::relay(connection, writer, &broker, &committed).await {
            // Nobody listens any more when another has failed before.
            let _ = done.send(Err(error.context("the outbox")));
        }
    });
    poll(args, &workers, &ended)
}

/// Gives records to the workers by their keys, and commits what is done.
fn poll(args: &HandWrittenArgs, workers: &[mpsc::Sender<Delivered>], ended: &Receiver<Done>) -> Result<()> {
    let consumer: BaseConsumer =
        bare::client(&args.broker, &args.group).set("enable.auto.commit", "false").create()?;
    consumer.subscribe(&[&args.topic])?;
    let (mut progress, mut committed_at) = (Progress::default(), Instant::now());
    loop {
        for done in ended.try_iter() {
            let (partition, offset) = done?;
            progress.is_done(partition, offset);
        }
        if committed_at.elapsed() > COMMIT_EVERY {
            let offsets = progress.offsets(&args.topic)?;
            if offsets.count() > 0 {
                consumer.commit(&offsets, CommitMode::Async)?;
            }
            committed_at = Instant::now();
        }
        let Some(message) = consumer.poll(POLL) else { continue };
        let delivered = delivered(&message?);
        progress.begins(delivered.partition, delivered.offset);
        let at = usize::try_from(hash(&delivered.key) % workers.len() as u64)?;
        let worker = workers.get(at).context("no worker")?;
        if let Err(error) = worker.blocking_send(delivered) {
            // Its own reason is on its way.
            ended.recv()??;
            return Err(error.into());
        }
    }
}

fn delivered(message: &BorrowedMessage<'_>) -> Delivered {
    Delivered {
        partition: message.partition(),
        offset: message.offset(),
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}

/// FNV-1a.
fn hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
