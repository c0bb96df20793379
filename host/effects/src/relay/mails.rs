//! Sends mails: a handful at once, each noted as soon as the handful is answered.

use std::time::Duration;

use futures::future::join_all;
use keylane_engine::Epoch;
use tokio::sync::watch;

use crate::outbox::letter_of;
use crate::relay::core;
use crate::relay::meters;
use crate::relay::ports::{MailError, MailSender};
use crate::relay::store::{Refused, StoredRow};
use crate::relay::task::{End, Work};

/// Mails under way at once. What is under way when the host dies may be sent again.
const MAILS_AT_ONCE: usize = 8;
/// Time between two looks into an outbox that had none.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest pause while the server takes nothing at all.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Sends until the turn ends.
pub(super) async fn relay(work: &Work, epoch: Epoch, end: &watch::Sender<bool>) -> End {
    let Some(sender) = &work.mail else {
        while !work.pause(end, LOOK_EVERY).await {}
        return End::Asked;
    };
    let (mut pause, mut failures) = (Duration::ZERO, 0_u32);
    while !work.pause(end, pause).await {
        match handful(work, epoch, sender.as_ref()).await {
            Ok(Handful::Empty) => pause = LOOK_EVERY,
            Ok(Handful::Answered) => (pause, failures) = (Duration::ZERO, 0),
            Ok(Handful::Unanswered) => {
                pause = core::wait(failures, false).min(PAUSE_MAX);
                failures = failures.saturating_add(1);
            }
            Err(ended) => return ended,
        }
    }
    End::Asked
}

enum Handful {
    /// No mail waits.
    Empty,
    /// The server took at least one, or refused one for what it is.
    Answered,
    /// The server takes nothing now.
    Unanswered,
}

async fn handful(work: &Work, epoch: Epoch, sender: &dyn MailSender) -> Result<Handful, End> {
    if !work.outbox.has_mails().await? {
        return Ok(Handful::Empty);
    }
    let mails = work.outbox.mails(epoch, MAILS_AT_ONCE).await?;
    let answers = join_all(mails.iter().map(|mail| send(work, sender, mail))).await;
    let (mut sent, mut refused, mut answered) = (Vec::new(), Vec::new(), mails.is_empty());
    for (mail, answer) in mails.iter().zip(answers) {
        match answer {
            None => {}
            Some(Ok(())) => sent.push(mail.id),
            Some(Err(error)) => {
                answered |= error.is_final;
                refused.push(note(work, mail, error));
            }
        }
    }
    answered |= !sent.is_empty();
    let count = u64::try_from(sent.len()).unwrap_or(u64::MAX);
    metrics::counter!(meters::MAILS, "database" => work.config.name.clone()).increment(count);
    work.outbox.mails_ended(epoch, sent, refused).await?;
    Ok(if answered { Handful::Answered } else { Handful::Unanswered })
}

/// None where the lease may have run out: another host may be sending it.
async fn send(work: &Work, sender: &dyn MailSender, mail: &StoredRow) -> Option<Result<(), MailError>> {
    let letter = match letter_of(&mail.row) {
        Ok(letter) => letter,
        Err(error) => return Some(Err(MailError { reason: error.to_string(), is_final: true })),
    };
    if !work.has_lease() {
        return None;
    }
    Some(sender.send(letter).await)
}

fn note(work: &Work, mail: &StoredRow, error: MailError) -> Refused {
    let wait = core::wait(mail.attempts, error.is_final);
    let (database, row, reason) = (&work.config.name, mail.id, error.reason);
    metrics::counter!(meters::REFUSED, "database" => database.clone(), "kind" => "mail").increment(1);
    tracing::warn!(database, row, reason, ?wait, "a mail was not taken; it waits");
    Refused { id: mail.id, reason, wait: Some(wait) }
}
