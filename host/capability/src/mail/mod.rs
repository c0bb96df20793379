//! `mail`: mails are checked when the guest sends them and held until the event's end. They become rows of
//! the outbox of the handler's database, committed with the event, and are sent from there.

mod folder;
mod mailer;
mod message;
mod smtp;

use std::sync::Arc;

use keylane_deployment::{Grants, MailGrant, Manifest};
use keylane_effects::{Letter, OutboxRow, mail_row};
use keylane_engine::{Event, TopicId};
use lettre::message::Mailbox;
use wasmtime::component::{HasSelf, Linker};

use crate::at_work::AtWork;
use crate::bindings::keylane::handler::mail::{self, Error, Message};
use crate::capability::{Boxed, Capability, Part, Preparation, Session};
use crate::error::CapabilityError;
use crate::limits;
use crate::scope::LogScope;
use crate::state::GuestState;

pub use mailer::Mailer;
pub use smtp::{SmtpConfig, SmtpSecurity};

/// The capability.
pub(crate) struct Mail;

impl Capability for Mail {
    fn interfaces(&self) -> &'static [&'static str] {
        &["keylane:handler/mail"]
    }

    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn how_to_grant(&self) -> &'static str {
        "[grants.mail] with from = \"...\""
    }

    fn granted(&self, grants: &Grants) -> bool {
        grants.mail.is_some()
    }

    fn check(&self, manifest: &Manifest) -> Result<(), CapabilityError> {
        manifest.grants.mail.as_ref().map_or(Ok(()), |grant| sender(manifest, grant).map(|_| ()))
    }

    fn link(&self, linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
        mail::add_to_linker::<_, HasSelf<GuestState>>(linker, |state| state)
    }

    fn prepare<'a>(
        &'a self,
        preparation: &'a Preparation<'a>,
    ) -> Boxed<'a, Result<Box<dyn Part>, CapabilityError>> {
        Box::pin(std::future::ready(prepare(preparation)))
    }
}

fn sender(manifest: &Manifest, grant: &MailGrant) -> Result<Mailbox, CapabilityError> {
    grant.from.parse().map_err(|error: lettre::address::AddressError| CapabilityError::MailSender {
        handler: manifest.name.clone(),
        from: grant.from.clone(),
        reason: error.to_string(),
    })
}

fn prepare(preparation: &Preparation<'_>) -> Result<Box<dyn Part>, CapabilityError> {
    let manifest = preparation.manifest;
    let handler = manifest.name.clone();
    let none = MailGrant { from: String::new(), mails_max: 0 };
    let grant = manifest.grants.mail.clone().unwrap_or(none);
    if preparation.resources.mailer.is_none() {
        return Err(CapabilityError::NoMailer { handler });
    }
    if crate::sql::write_database(preparation)?.is_none() {
        return Err(CapabilityError::MailNeedsDatabase { handler });
    }
    let granted = Granted {
        from: sender(manifest, &grant)?,
        mails_max: grant.mails_max,
        mail_bytes_max: preparation.resources.limits.mail_bytes,
        held: metrics::gauge!("keylane_mails_held", "handler" => handler.clone()),
        limits_reached: limits::reached(&handler, "mail"),
        handler,
    };
    Ok(Box::new(MailPart { granted: Arc::new(granted) }))
}

/// What all instances of a revision share.
struct Granted {
    handler: String,
    from: Mailbox,
    mails_max: usize,
    mail_bytes_max: usize,
    held: metrics::Gauge,
    limits_reached: metrics::Counter,
}

struct MailPart {
    granted: Arc<Granted>,
}

impl Part for MailPart {
    fn session(&self, _scope: &Arc<LogScope>) -> Box<dyn Session> {
        Box::new(MailSession {
            granted: self.granted.clone(),
            topic_id: TopicId::UNKNOWN,
            again: String::new(),
            event: None,
            mails: Vec::new(),
        })
    }
}

/// The mails of one event. Bounded by the grant's count and the host's size of each.
struct MailSession {
    granted: Arc<Granted>,
    topic_id: TopicId,
    again: String,
    event: Option<Arc<Event>>,
    mails: Vec<Letter>,
}

impl MailSession {
    fn hold(&mut self, message: &Message) -> Result<(), Error> {
        let granted = &self.granted;
        let limit = |said: String| {
            granted.limits_reached.increment(1);
            Err(Error::Limit(said))
        };
        if self.mails.len() >= granted.mails_max {
            return limit(format!("one event may send {} mails (mails-max)", granted.mails_max));
        }
        let size = message.subject.len().saturating_add(message.body.len());
        if size > granted.mail_bytes_max {
            return limit(format!("the mail has {size} bytes, {} are allowed", granted.mail_bytes_max));
        }
        let identity = message.id.clone().unwrap_or_else(|| self.default_identity());
        let mail = message::letter(&granted.handler, &granted.from, &identity, message)?;
        self.mails.push(mail);
        granted.held.increment(1.0);
        Ok(())
    }

    /// Which mail this is, by the event it comes from and how many came before. A topic that was deleted and
    /// made again counts its offsets anew, so its name alone would make two mails one.
    fn default_identity(&self) -> String {
        let ordinal = self.mails.len();
        self.event.as_ref().map_or_else(String::new, |event| {
            let (source, topic_id, again) = (&event.source, self.topic_id, &self.again);
            format!("{}.{topic_id}.{}.{}.{ordinal}{again}", source.topic, source.partition, event.offset)
        })
    }

    fn drop_held(&mut self) -> Vec<Letter> {
        let mails = std::mem::take(&mut self.mails);
        for _ in &mails {
            self.granted.held.decrement(1.0);
        }
        mails
    }
}

impl Session for MailSession {
    fn begin(&mut self, at: &Arc<AtWork>) {
        self.drop_held();
        (self.topic_id, self.again) = (at.topic_id, at.again());
        self.event = Some(at.event.clone());
    }

    fn rows(&mut self, ordinal: i32) -> Vec<OutboxRow> {
        let Some(event) = self.event.clone() else { return Vec::new() };
        let mails = self.drop_held();
        (ordinal..).zip(&mails).map(|(ordinal, mail)| mail_row(event.offset, ordinal, mail)).collect()
    }

    fn forget(&mut self) {
        self.drop_held();
    }
}

impl Drop for MailSession {
    fn drop(&mut self) {
        self.drop_held();
    }
}

impl mail::Host for GuestState {
    async fn send(&mut self, message: Message) -> wasmtime::Result<Result<(), Error>> {
        let _call = self.host_call();
        Ok(self.session::<MailSession>()?.hold(&message))
    }
}
