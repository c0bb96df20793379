//! Sends mails: a handful at once, each noted as soon as it is answered.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use keylane_engine::Epoch;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::database::OutboxKind;
use crate::outbox::letter_of;
use crate::relay::config::RelayStatus;
use crate::relay::core;
use crate::relay::meters;
use crate::relay::ports::{Handed, MailError, MailSender};
use crate::relay::store::{MailEnded, OutboxError, Refused, StoredRow};
use crate::relay::task::{End, Work};

/// Mails under way at once. What is under way when the host dies may be sent again.
const MAILS_AT_ONCE: usize = 8;
/// So much less often than for records it is looked for mails of other hosts.
const LOOKS: u32 = 4;
/// How long a note of what became of mails is tried again, and how often.
const NOTE_LIMIT: Duration = Duration::from_secs(10);
const NOTE_EVERY: Duration = Duration::from_millis(200);
/// The longest pause while the server takes nothing at all.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Sends until the turn ends, or, when the host stops, until no mail waits that the server takes.
pub(super) async fn relay(work: &Work, epoch: Epoch, end: &watch::Sender<bool>) -> End {
    let Some(sender) = &work.mail else { return without_sender(work, end).await };
    let look = work.config.look.saturating_mul(LOOKS);
    let mut news = work.listen(OutboxKind::Mail);
    // None where no mail waits.
    let (mut pause, mut failures) = (Some(Duration::ZERO), 0_u32);
    loop {
        match pause {
            Some(pause) => work.pause(end, pause).await,
            None => work.rest(end, look, &mut news).await,
        };
        // Asked before the look, as for records. A server that takes nothing is not asked once more.
        let last = work.is_stopping();
        if work.is_over(end) || (last && failures > 0) {
            return End::Asked;
        }
        news.listen();
        match handful(work, epoch, end, sender.as_ref()).await {
            Ok(Handful::Empty | Handful::Unanswered) if last => return End::Asked,
            Ok(Handful::Empty) => pause = None,
            Ok(Handful::Answered) => (pause, failures) = (Some(Duration::ZERO), 0),
            Ok(Handful::Unanswered) => {
                pause = Some(core::wait(failures, false).min(PAUSE_MAX));
                failures = failures.saturating_add(1);
            }
            Err(ended) => return ended,
        }
    }
}

/// Mails may lie here all the same, of a host with another configuration: that they are due and wait is told. Nobody
/// hurries for that, so it is asked as seldom as the lease is renewed.
async fn without_sender(work: &Work, end: &watch::Sender<bool>) -> End {
    let mut said = false;
    loop {
        let waits = match work.outbox.has_mails().await {
            Ok(waits) => waits,
            Err(error) => return error.into(),
        };
        if waits && !said {
            let database = &work.config.name;
            tracing::error!(database, "mails wait in the outbox, and this host's file has no [mail]");
        }
        said = waits;
        work.tell(if waits { RelayStatus::WithoutMail } else { RelayStatus::Relaying });
        if work.pause(end, work.every()).await {
            return End::Asked;
        }
    }
}

enum Handful {
    /// No mail waits.
    Empty,
    /// The server took at least one, or refused one for what it is or for whom.
    Answered,
    /// The server takes nothing now.
    Unanswered,
}

async fn handful(
    work: &Work,
    epoch: Epoch,
    end: &watch::Sender<bool>,
    sender: &dyn MailSender,
) -> Result<Handful, End> {
    if !work.outbox.has_mails().await? {
        return Ok(Handful::Empty);
    }
    let mails = work.outbox.mails(epoch, MAILS_AT_ONCE).await?;
    let may_begin = || work.may_begin(end);
    let sending = mails.iter().map(async |mail| (mail, send(sender, &may_begin, mail).await));
    let mut answers = sending.collect::<FuturesUnordered<_>>().ready_chunks(MAILS_AT_ONCE);
    let (mut answered, mut noted) = (mails.is_empty(), Ok(()));
    while let Some(some) = answers.next().await {
        let mut ended = Vec::new();
        for (mail, answer) in some {
            let refused = match answer {
                Ok(Handed::NotBegun) => continue,
                Ok(Handed::Taken) => {
                    answered = true;
                    None
                }
                Err(error) => {
                    answered |= error.is_its_own;
                    Some(refusal(work, mail, error))
                }
            };
            let message_id = mail.row.key.clone().unwrap_or_default();
            ended.push(MailEnded { id: mail.id, message_id, refused });
        }
        // The others are under way, whatever became of this note.
        noted = noted.and(note(work, epoch, ended).await);
    }
    noted?;
    Ok(if answered { Handful::Answered } else { Handful::Unanswered })
}

async fn send(
    sender: &dyn MailSender,
    may_begin: &(dyn Fn() -> bool + Send + Sync),
    mail: &StoredRow,
) -> Result<Handed, MailError> {
    match letter_of(&mail.row) {
        Ok(letter) => sender.send(letter, may_begin).await,
        Err(error) => Err(MailError { reason: error.to_string(), is_final: true, is_its_own: true }),
    }
}

/// Notes what became of mails. Where the database does not take that, it is tried again for a while: what is
/// not noted is sent again.
async fn note(work: &Work, epoch: Epoch, ended: Vec<MailEnded>) -> Result<(), End> {
    if ended.is_empty() {
        return Ok(());
    }
    let count = u64::try_from(ended.iter().filter(|mail| mail.refused.is_none()).count()).unwrap_or(u64::MAX);
    metrics::counter!(meters::MAILS, "database" => work.config.name.clone()).increment(count);
    let begun = Instant::now();
    loop {
        match work.outbox.mails_ended(epoch, ended.clone()).await {
            Err(OutboxError::Database(error)) if error.can_retry() && begun.elapsed() < NOTE_LIMIT => {
                let database = &work.config.name;
                tracing::warn!(database, %error, mails = count, "mails were taken, which cannot be noted yet");
                tokio::time::sleep(NOTE_EVERY).await;
            }
            answer => return Ok(answer?),
        }
    }
}

fn refusal(work: &Work, mail: &StoredRow, error: MailError) -> Refused {
    let wait = core::wait(mail.attempts, error.is_final);
    let (database, row, reason) = (&work.config.name, mail.id, error.reason);
    metrics::counter!(meters::REFUSED, "database" => database.clone(), "kind" => "mail").increment(1);
    tracing::warn!(database, row, reason, ?wait, "a mail was not taken; it waits");
    Refused { id: mail.id, reason, wait: Some(wait) }
}
