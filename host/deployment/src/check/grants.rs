//! Checks `[grants]`.

use std::collections::BTreeMap;

use super::Checked;
use super::words::topics;
use crate::bounds;
use crate::document::Document;
use crate::manifest::{Grants, LoggingGrant, MailGrant, ProducerGrant, SqlGrant};
use crate::names::{name_problem, topic_problem};
use crate::raw::{RawAccess, RawGrants, RawMailGrant, RawProducerGrant, RawSqlGrant};

pub(super) fn grants(document: &Document, raw: RawGrants) -> Checked<Grants> {
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
