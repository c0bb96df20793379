//! The model of a mail server: it counts how often each Message-ID was taken.

use std::time::Duration;

use keylane_effects::{Handed, Letter, MailError, MailSender};
use keylane_engine::Boxed;

use crate::mistake::Mistake;
use crate::shared::Link;

/// The longest that a mail takes.
const LIMIT: Duration = Duration::from_secs(5);

/// The way to the server for one process.
pub struct Post {
    pub link: Link,
}

impl MailSender for Post {
    fn limit(&self) -> Duration {
        LIMIT
    }

    fn send<'a>(
        &'a self,
        letter: Letter,
        may_begin: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Boxed<'a, Result<Handed, MailError>> {
        Box::pin(async move {
            self.link.travel().await;
            let is_ignored = self.link.shared().has(Mistake::MailsWithoutLease);
            if !is_ignored && !may_begin() {
                self.link.shared().saw("mail not begun");
                return Ok(Handed::NotBegun);
            }
            {
                let (mut shared, host) = (self.link.shared(), format!("host {}", self.link.host));
                let now_ms = self.link.clock.now_ms();
                if !shared.is_unsettled && shared.table.is_held_by_another(&host, now_ms) {
                    shared.foreign_mail = Some(format!("{} by {host}", letter.message_id));
                }
            }
            let taken = self.link.ask_mail_server(|shared, _| {
                *shared.mails.entry(letter.message_id.clone()).or_default() += 1;
            });
            match taken.await {
                Some(()) => Ok(Handed::Taken),
                None => Err(MailError { reason: "no answer".to_owned(), is_final: false, is_its_own: false }),
            }
        })
    }
}
