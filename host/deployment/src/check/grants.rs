//! Checks `[grants]`.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::words::topics;
use super::{Checked, http, values};
use crate::bounds;
use crate::document::Document;
use crate::manifest::{Access, Grants, Isolation, LoggingGrant, MailGrant, ProducerGrant, SqlGrant};
use crate::names::{name_problem, topic_problem};
use crate::raw::{RawGrants, RawMailGrant, RawProducerGrant, RawSqlGrant};

pub(super) fn grants(document: &Document, raw: RawGrants) -> Checked<Grants> {
    let mut grants = Grants { sql: sql(document, raw.sql)?, ..Grants::default() };
    grants.producer = raw.producer.map(|grant| producer_grant(document, grant)).transpose()?;
    if let Some(mail) = raw.mail {
        let why = "a mail waits in the handler's database until its event is done, so that it leaves once";
        needs_database(document, &grants, mail.span(), why)?;
        grants.mail = Some(mail_grant(document, mail.into_inner())?);
    }
    if let Some(keyvalue) = raw.keyvalue {
        let why = "values are kept in the handler's database, so that they change once with their event";
        needs_database(document, &grants, keyvalue.span(), why)?;
        grants.keyvalue = Some(values::keyvalue_grant(document, keyvalue.into_inner())?);
    }
    grants.http = raw.http.map(|grant| http::http_grant(document, grant.into_inner())).transpose()?;
    grants.config = raw.config.map(|values| values::config_grant(document, values)).transpose()?;
    grants.logging = raw.logging.map(|_| LoggingGrant {});
    Ok(grants)
}

/// Refuses a grant that can only be kept beside a database that is written to.
fn needs_database(document: &Document, grants: &Grants, span: Range<usize>, why: &str) -> Checked<()> {
    if grants.write_database().is_some() {
        return Ok(());
    }
    Err(document
        .refuse(span, format!("{why}, but this handler writes to none"))
        .with_hint("add [grants.sql.NAME] with access = \"write\""))
}

/// Any number of databases to read, and at most one to write.
fn sql(
    document: &Document,
    raw: BTreeMap<Spanned<String>, RawSqlGrant>,
) -> Checked<BTreeMap<String, SqlGrant>> {
    let mut sql = BTreeMap::new();
    let mut written = false;
    for (name, grant) in raw {
        if let Some(problem) = name_problem(name.get_ref()) {
            return Err(document.refuse(name.span(), problem));
        }
        let writes = grant.access == Access::Write;
        if written && writes {
            let problem = "a handler may write to one database: two cannot be committed together";
            return Err(document.refuse(name.span(), problem).with_hint(
                "split the handler, merge the databases, or write access = \"read\" for one of them",
            ));
        }
        written |= writes;
        sql.insert(name.into_inner(), sql_grant(document, grant)?);
    }
    Ok(sql)
}

fn sql_grant(document: &Document, raw: RawSqlGrant) -> Checked<SqlGrant> {
    let of_a_writer = [
        ("migrations", raw.migrations.as_ref().map(Spanned::span)),
        ("isolation", raw.isolation.as_ref().map(Spanned::span)),
    ];
    if raw.access == Access::Read {
        for (key, span) in of_a_writer {
            let Some(span) = span else { continue };
            let problem = format!("`access` is \"read\", but `{key}` is for a database that is written to");
            let hint = format!("leave `{key}` out, or write access = \"write\"");
            return Err(document.refuse(span, problem).with_hint(hint));
        }
    }
    Ok(SqlGrant {
        access: raw.access,
        isolation: raw.isolation.map_or(Isolation::Serializable, Spanned::into_inner),
        migrations: raw.migrations.map(Spanned::into_inner),
        rows_max: bounds::ROWS.check(document, raw.rows_max)?.get(),
    })
}

fn producer_grant(document: &Document, raw: RawProducerGrant) -> Checked<ProducerGrant> {
    Ok(ProducerGrant {
        topics: topics(document, raw.topics, topic_problem)?,
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
