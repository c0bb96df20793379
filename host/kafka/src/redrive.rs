//! Redrives: a handler's letters go back to it, through a topic that only this handler reads.
//!
//! A redrive first reads all letters it was asked for and sends nothing, so that what is wrong with one of
//! them is known before another one moves. Then it takes the handler's transactional id, and with that the
//! place of any other redrive, reads what was redriven already, and sends the rest in transactions, each with
//! a note of what it sent. Whoever kills it in between loses one transaction, which nobody ever sees.
//!
//! How the second one knows all that the first one did: the id is taken first, which ends the first one's
//! open transaction; then it writes a mark of its own and reads the notes up to that mark. Reading to the
//! "end" would not do, because an open transaction of another handler's redrive hides what lies behind it.
//!
//! Letters that were left out stay: they are not noted as done. The order of letters of one key is kept among
//! those that are sent, but not against those left out, nor against the handler's own topic.

mod done;
mod judge;
mod pace;
mod progress;
mod sender;
mod survey;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

pub(crate) use progress::Progress;

use self::done::Done;
use self::judge::{Judge, Judgement};
use self::pace::Pace;
use self::progress::PROGRESS_TOPIC;
use self::sender::Sender;
use self::survey::Part;
use crate::admin::Admin;
use crate::dlq::{Dlq, LetterFilter, Reader};
use crate::error::KafkaError;
use crate::transaction::Outgoing;

/// The most letters in one transaction.
const BATCH_LETTERS: usize = 500;
/// The most bytes in one transaction, but for its last letter.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often a letter may be redriven, unless the operator says otherwise.
pub const REDRIVES_MAX: u32 = 3;

/// What to redrive, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveOptions {
    /// Which letters.
    pub filter: LetterFilter,
    /// Only look what would be sent.
    pub dry_run: bool,
    /// Letters in a second; none means as fast as it goes.
    pub rate_per_s: Option<NonZeroU32>,
    /// A letter that has been redriven so often is held back: it would only come again.
    pub redrives_max: u32,
}

impl Default for RedriveOptions {
    fn default() -> Self {
        Self { filter: LetterFilter::default(), dry_run: false, rate_per_s: None, redrives_max: REDRIVES_MAX }
    }
}

/// What became of the letters in one partition of a dead-letter topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionRedrive {
    /// The dead-letter topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Sent now; in a dry run: to be sent.
    pub sent: u64,
    /// Redriven before.
    pub redriven: u64,
    /// Not asked for; they stay.
    pub left_out: u64,
    /// Redriven too often; they stay.
    pub held_back: u64,
}

/// What a redrive did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RedriveReport {
    /// Each partition, by topic.
    pub partitions: Vec<PartitionRedrive>,
}

impl RedriveReport {
    /// Letters sent, of all partitions.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.sent).sum()
    }

    /// Letters held back, of all partitions.
    #[must_use]
    pub fn held_back(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.held_back).sum()
    }
}

/// Does it. The topics it needs are made where they are missing, but not for a dry run or for nothing.
pub(crate) async fn run(dlq: &Dlq, options: RedriveOptions) -> Result<RedriveReport, KafkaError> {
    let asked = options.clone();
    let survey = dlq.blocking(move |dlq| survey::survey(dlq, &asked)).await?;
    if options.dry_run || survey.report.sent() == 0 {
        return Ok(survey.report);
    }
    // Without transactions there is no use for topics.
    let sender = dlq.blocking(|dlq| Sender::open(&dlq.kafka, (&dlq.fleet, &dlq.handler))).await?;
    let retries = ensure_topics(dlq).await?;
    dlq.blocking(move |dlq| Run::begin(dlq, &options, sender, retries)?.go(&survey.parts)).await
}

/// Answers how many partitions each retry topic has: at least as many as its source.
async fn ensure_topics(dlq: &Dlq) -> Result<BTreeMap<String, i32>, KafkaError> {
    let admin = Admin::new(&dlq.kafka)?;
    admin.ensure_progress_topic(PROGRESS_TOPIC).await?;
    admin.ensure_wide_retry_topics(&dlq.sources, &dlq.handler).await
}

/// A redrive that has taken its place.
struct Run<'a> {
    dlq: &'a Dlq,
    judge: Judge<'a>,
    reader: Arc<Reader>,
    sender: Sender,
    progress: Progress,
    retries: BTreeMap<String, i32>,
    pace: Pace,
}

/// Letters on their way into one transaction.
#[derive(Default)]
struct Batch {
    letters: Vec<Outgoing>,
    bytes: usize,
}

impl<'a> Run<'a> {
    fn begin(
        dlq: &'a Dlq,
        options: &'a RedriveOptions,
        sender: Sender,
        retries: BTreeMap<String, i32>,
    ) -> Result<Self, KafkaError> {
        let reader = Arc::new(Reader::new(&dlq.kafka)?);
        let mark = progress::beginning(&dlq.fleet, &dlq.handler).ok_or_else(|| unwritable(dlq))?;
        let mark_at = sender.commit(&[], &mark)?;
        let progress = Progress::read(&reader, &dlq.fleet, &dlq.handler, Some(mark_at))?;
        let (judge, pace) = (Judge::new(dlq, options), Pace::new(options.rate_per_s));
        Ok(Self { dlq, judge, reader, sender, progress, retries, pace })
    }

    fn go(mut self, parts: &[Part]) -> Result<RedriveReport, KafkaError> {
        let partitions = parts.iter().map(|part| self.part(part)).collect::<Result<_, _>>()?;
        Ok(RedriveReport { partitions })
    }

    fn part(&mut self, part: &Part) -> Result<PartitionRedrive, KafkaError> {
        let id = part.known_id(&self.reader, &self.dlq.handler)?;
        let mut done = self.progress.of(Some(&id), part.partition);
        let low = self.reader.bounds(&part.topic, part.partition)?.low;
        done.raise(low);
        let mut told = part.row();
        let mut batch = Batch::default();
        let mut next = low;
        let reader = self.reader.clone();
        let mut reading = reader.open(&part.topic, part.partition, low..part.end)?;
        while let Some(letter) = reading.next()? {
            // Offsets between two letters hold none: they share the fate of the one behind them.
            let span = next..letter.offset.saturating_add(1);
            next = span.end;
            match self.judge.judge(&letter, &done) {
                Judgement::Send(retry) => {
                    batch.bytes += letter.bytes();
                    batch.letters.push(retry.outgoing(&letter, &self.retries));
                    told.sent += 1;
                    done.mark(span);
                }
                Judgement::Redriven => {
                    told.redriven += 1;
                    done.mark(span);
                }
                Judgement::LeftOut => told.left_out += 1,
                Judgement::HeldBack => told.held_back += 1,
                Judgement::Foreign(reason) => {
                    return Err(survey::foreign_error(&letter, self.dlq, reason, 1));
                }
            }
            if batch.letters.len() >= self.pace.batch_letters() || batch.bytes >= BATCH_BYTES {
                self.commit(part, &mut batch, &done)?;
            }
        }
        self.commit(part, &mut batch, &done)?;
        Ok(told)
    }

    /// Sends what was read. Even where that is nothing the topic has to be the one that it was: what is told
    /// of the partition, such as that all was redriven before, was told of that one.
    fn commit(&mut self, part: &Part, batch: &mut Batch, done: &Done) -> Result<(), KafkaError> {
        let id = part.known_id(&self.reader, &self.dlq.handler)?;
        let Batch { letters, .. } = std::mem::take(batch);
        if letters.is_empty() {
            return Ok(());
        }
        std::thread::sleep(self.pace.wait(letters.len(), Instant::now()));
        let whose = (self.dlq.fleet.as_str(), self.dlq.handler.as_str());
        let note = progress::record(whose, (&id, &part.topic, part.partition), done);
        let note = note.ok_or_else(|| too_many_holes(self.dlq, part))?;
        self.sender.commit(&letters, &note)?;
        let now = Instant::now();
        let sent = self.pace.note(letters.len(), now);
        if self.pace.may_speak(now) {
            let (handler, topic, partition) = (&self.dlq.handler, &part.topic, part.partition);
            tracing::info!(handler, topic, partition, sent, "letters are redriven");
        }
        Ok(())
    }
}

fn unwritable(dlq: &Dlq) -> KafkaError {
    let reason = "its progress could not be written down".to_owned();
    KafkaError::Redrive { handler: dlq.handler.clone(), reason, can_retry: false }
}

fn too_many_holes(dlq: &Dlq, part: &Part) -> KafkaError {
    let reason = format!(
        "more than {} stretches of letters in {}[{}] lie apart; redrive with a wider filter, or without one",
        progress::RANGES_MAX,
        part.topic,
        part.partition
    );
    KafkaError::Redrive { handler: dlq.handler.clone(), reason, can_retry: false }
}
