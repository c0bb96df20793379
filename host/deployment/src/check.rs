//! From the manifest as it is written to the checked one. Whatever this version cannot keep is refused
//! here, before anything starts.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use crate::bounds;
use crate::document::Document;
use crate::error::DeploymentError;
use crate::manifest::{
    Delivery, Grants, Limits, LoggingGrant, MailGrant, Manifest, NullKeys, Order, ProducerGrant, SqlGrant,
    Subscribe, Untyped,
};
use crate::names::{name_problem, topic_problem};
use crate::raw::{
    RawAccess, RawDelivery, RawGrants, RawLimits, RawMailGrant, RawManifest, RawProducerGrant, RawSqlGrant,
    RawSubscribe, RawThen,
};
use crate::start::start;

type Checked<T> = Result<T, DeploymentError>;

/// The header that names a record's type in CloudEvents' binary mode.
const TYPE_HEADER: &str = "ce_type";

/// Checks the whole manifest.
pub(crate) fn manifest(document: &Document, raw: RawManifest) -> Checked<Manifest> {
    if let Some(problem) = name_problem(raw.name.get_ref()) {
        return Err(document.refuse(raw.name.span(), problem));
    }
    if raw.component.get_ref().as_os_str().is_empty() {
        return Err(document.refuse(raw.component.span(), "name the component's file"));
    }
    Ok(Manifest {
        name: raw.name.into_inner(),
        component: raw.component.into_inner(),
        subscribe: subscribe(document, raw.subscribe)?,
        delivery: delivery(document, raw.delivery)?,
        grants: grants(document, raw.grants)?,
        limits: limits(document, raw.limits)?,
    })
}

fn subscribe(document: &Document, raw: RawSubscribe) -> Checked<Subscribe> {
    let type_header = match raw.type_header {
        Some(name) if name.get_ref().is_empty() => {
            return Err(document.refuse(name.span(), "a header's name cannot be empty"));
        }
        Some(name) => name.into_inner(),
        None => TYPE_HEADER.to_owned(),
    };
    let type_problem = |name: &str| name.is_empty().then(|| "an event type cannot be empty".to_owned());
    Ok(Subscribe {
        topics: topics(document, raw.topics)?,
        events: distinct(document, raw.events, type_problem)?,
        type_header,
        untyped: raw.untyped.unwrap_or(Untyped::Handle),
        start: start(document, raw.start)?,
    })
}

fn delivery(document: &Document, raw: RawDelivery) -> Checked<Delivery> {
    if let Some(then) = raw.then
        && *then.get_ref() != RawThen::DeadLetter
    {
        let problem = "this version of keylane can only send what failed for good to the dead letters";
        return Err(document
            .refuse(then.span(), problem)
            .with_hint("write \"dead-letter\" or leave `then` out"));
    }
    let longest_at = raw.backoff_max.as_ref().or(raw.backoff.as_ref()).map(Spanned::span);
    let backoff = bounds::BACKOFF.check(document, raw.backoff)?;
    let backoff_max = bounds::BACKOFF_MAX.check(document, raw.backoff_max)?;
    if let Some(span) = longest_at
        && backoff > backoff_max
    {
        let problem = format!("the first wait, {backoff}, is longer than the longest, {backoff_max}");
        return Err(document
            .refuse(span, problem)
            .with_hint("`backoff` is the first wait, `backoff-max` the longest"));
    }
    let attempts = bounds::ATTEMPTS.check(document, raw.attempts)?;
    Ok(Delivery {
        order: raw.order.unwrap_or(Order::Key),
        null_keys: raw.null_keys.unwrap_or(NullKeys::Unordered),
        attempts: u32::try_from(attempts.0).unwrap_or(u32::MAX),
        backoff: backoff.duration(),
        backoff_max: backoff_max.duration(),
    })
}

fn grants(document: &Document, raw: RawGrants) -> Checked<Grants> {
    let mut sql = BTreeMap::new();
    for (name, grant) in raw.sql {
        if let Some(problem) = name_problem(name.get_ref()) {
            return Err(document.refuse(name.span(), problem));
        }
        if !sql.is_empty() {
            let problem = "a handler may write to one database: two cannot be committed together";
            return Err(document
                .refuse(name.span(), problem)
                .with_hint("split the handler, or merge the databases"));
        }
        sql.insert(name.into_inner(), sql_grant(document, grant)?);
    }
    Ok(Grants {
        sql,
        producer: raw.producer.map(|grant| producer_grant(document, grant)).transpose()?,
        mail: raw.mail.map(|grant| mail_grant(document, grant)).transpose()?,
        logging: raw.logging.map(|_| LoggingGrant {}),
    })
}

fn sql_grant(document: &Document, raw: RawSqlGrant) -> Checked<SqlGrant> {
    if *raw.access.get_ref() == RawAccess::Read {
        let problem = "this version of keylane cannot grant a database for reading only";
        return Err(document.refuse(raw.access.span(), problem).with_hint("write \"write\""));
    }
    Ok(SqlGrant { migrations: raw.migrations, rows_max: bounds::ROWS.check(document, raw.rows_max)?.get() })
}

fn producer_grant(document: &Document, raw: RawProducerGrant) -> Checked<ProducerGrant> {
    Ok(ProducerGrant {
        topics: topics(document, raw.topics)?,
        records_max: bounds::RECORDS.check(document, raw.records_max)?.get(),
    })
}

fn mail_grant(document: &Document, raw: RawMailGrant) -> Checked<MailGrant> {
    let from = raw.from.get_ref();
    let address = from.split_once('@').is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty());
    if !address || from.contains(char::is_control) {
        return Err(document.refuse(raw.from.span(), format!("{from:?} is not a mail address")));
    }
    let mails_max = bounds::MAILS.check(document, raw.mails_max)?.get();
    Ok(MailGrant { from: raw.from.into_inner(), mails_max })
}

fn limits(document: &Document, raw: RawLimits) -> Checked<Limits> {
    Ok(Limits {
        memory_bytes: bounds::MEMORY.check(document, raw.memory)?.bytes(),
        table_elements: bounds::TABLE_ELEMENTS.check(document, raw.table_elements)?.get(),
        time: bounds::TIME.check(document, raw.time)?.duration(),
        host_call: bounds::HOST_CALL.check(document, raw.host_call)?.duration(),
        concurrency: bounds::CONCURRENCY.check(document, raw.concurrency)?.get(),
        run_events: bounds::RUN_EVENTS.check(document, raw.run_events)?.get(),
    })
}

/// Topics: at least one, each legal, none twice.
fn topics(document: &Document, raw: Spanned<Vec<Spanned<String>>>) -> Checked<Vec<String>> {
    if raw.get_ref().is_empty() {
        return Err(document.refuse(raw.span(), "name at least one topic"));
    }
    distinct(document, raw.into_inner(), topic_problem)
}

/// Words of which each is legal and none stands twice.
fn distinct(
    document: &Document,
    raw: Vec<Spanned<String>>,
    problem: impl Fn(&str) -> Option<String>,
) -> Checked<Vec<String>> {
    let mut seen = BTreeSet::new();
    for word in &raw {
        if let Some(problem) = problem(word.get_ref()) {
            return Err(document.refuse(word.span(), problem));
        }
        if !seen.insert(word.get_ref()) {
            return Err(document.refuse(word.span(), format!("{:?} stands here twice", word.get_ref())));
        }
    }
    drop(seen);
    Ok(raw.into_iter().map(Spanned::into_inner).collect())
}
