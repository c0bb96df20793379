//! The mails that a server took: one for each payout that accounting published, with the Message-ID of its event, to
//! the right worker, with the right amount. One comes again, the same, only if its sender was killed with it under way.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use keylane_test_support::TakenMail;
use serde::Deserialize;

use super::facts::PAYOUTS;
use super::same;
use crate::broker::Stored;

/// So many mails a host has under way at once; those it had when it was killed may come again.
const UNDER_WAY_MAX: usize = 8;
/// What handler and topic put in front of the rest of a Message-ID.
const ID_START: &str = "email.payouts.";
const SENDER: &str = "payroll@exchange.example";

/// What distinguishes mails: Message-ID, recipient of the envelope, and the headers To, Subject and From.
type Mail = (String, Vec<String>, Option<String>, Option<String>, Option<String>);

/// Compares mails with the payouts as they lie in [`PAYOUTS`]. `lives` are the mails that came from one host after
/// the other, each of which was killed but the last. Answers how many mails came again.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(payouts: &[Stored], lives: &[&[TakenMail]]) -> Result<usize> {
    let (different, again) = without_repeats(lives)?;
    // One topic, so one id: a mail with another one is found as one that nobody had to send.
    let topic_id = different.first().and_then(|mail| topic_id(&mail.message_id)).unwrap_or_default();
    let mut wanted = payouts
        .iter()
        .map(|payout| must_come(topic_id, payout))
        .collect::<Result<Vec<_>>>()
        .context(PAYOUTS)?;
    let mut found: Vec<Mail> = different.iter().map(|mail| as_it_came(mail)).collect();
    found.sort();
    wanted.sort();
    same("mails", &found, &wanted)?;
    Ok(again)
}

/// Each Message-ID's first mail, and how many mails came again.
fn without_repeats<'a>(lives: &[&'a [TakenMail]]) -> Result<(Vec<&'a TakenMail>, usize)> {
    let mut last: BTreeMap<&str, (usize, &TakenMail)> = BTreeMap::new();
    let mut forgotten: BTreeMap<usize, usize> = BTreeMap::new();
    for (life, mails) in lives.iter().enumerate() {
        for mail in *mails {
            let Some((before, first)) = last.insert(&mail.message_id, (life, mail)) else { continue };
            ensure!(before != life, "no kill explains that a mail came twice: {first:?}, {mail:?}");
            ensure!(
                (&first.message, &first.to) == (&mail.message, &mail.to),
                "a mail came again changed: {first:?}, {mail:?}"
            );
            *forgotten.entry(before).or_default() += 1;
        }
    }
    for (life, forgotten) in &forgotten {
        ensure!(
            *forgotten <= UNDER_WAY_MAX,
            "{forgotten} mails came again that host {life} had sent when it was killed: more than were under way"
        );
    }
    Ok((last.into_values().map(|(_, mail)| mail).collect(), forgotten.values().sum()))
}

#[derive(Deserialize)]
struct PayoutMade {
    worker: String,
    day: String,
    amount: i64,
}

/// The mail of a payout where its topic has this id.
fn must_come(topic_id: &str, payout: &Stored) -> Result<Mail> {
    let Stored { partition, offset, record } = payout;
    let PayoutMade { worker, day, amount } =
        serde_json::from_str(record.value.as_deref().context("no value")?)?;
    let units = if amount == 1 { "unit" } else { "units" };
    let to = format!("{worker}@workers.example");
    Ok((
        format!("{ID_START}{topic_id}.{partition}.{offset}.0@exchange.example"),
        vec![to.clone()],
        Some(to),
        Some(format!("Your payout for {day}: {amount} {units}")),
        Some(SENDER.to_owned()),
    ))
}

fn as_it_came(mail: &TakenMail) -> Mail {
    let header = |name: &str| header(&mail.message, name);
    (mail.message_id.clone(), mail.to.clone(), header("To"), header("Subject"), header("From"))
}

fn topic_id(message_id: &str) -> Option<&str> {
    message_id.strip_prefix(ID_START)?.split('.').next()
}

/// A header of a mail, with the lines it was folded into put together.
fn header(mail: &str, name: &str) -> Option<String> {
    let mut lines = mail.lines().take_while(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let Some((found, value)) = line.split_once(':') else { continue };
        if !found.eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(folded) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(folded.trim());
        }
        return Some(value);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Record;

    fn payout(offset: i64) -> Stored {
        let value = format!(r#"{{"worker":"w-{offset}","day":"2027-01-01","amount":{offset}}}"#);
        let record = Record { key: Some(format!("w-{offset}")), value: Some(value), headers: Vec::new() };
        Stored { partition: 2, offset, record }
    }

    fn mail(offset: i64) -> TakenMail {
        let to = format!("w-{offset}@workers.example");
        let units = if offset == 1 { "unit" } else { "units" };
        TakenMail {
            begun_ms: 0,
            at_ms: 0,
            message_id: format!("email.payouts.BwcHBw.2.{offset}.0@exchange.example"),
            message: format!(
                "From: {SENDER}\nTo: {to}\nSubject: Your payout for 2027-01-01:\n {offset} {units}\n\nHello"
            ),
            to: vec![to],
        }
    }

    #[test]
    fn each_payout_has_its_mail_and_nothing_else_has() {
        let payouts: Vec<_> = (0..3).map(payout).collect();
        let mails: Vec<_> = (0..3).map(mail).collect();
        assert_eq!(check(&payouts, &[&mails]).unwrap(), 0);
        assert_eq!(check(&[], &[]).unwrap(), 0);
        assert!(check(&payouts, &[&mails[1..]]).is_err(), "one is missing");
        assert!(check(&payouts[1..], &[&mails]).is_err(), "one is of nobody");
        let elsewhere = TakenMail { message_id: mails[2].message_id.replace("BwcHBw", "CAgICA"), ..mail(2) };
        assert!(check(&payouts, &[&mails[..2], &[elsewhere]]).is_err(), "one is of another topic");
        let other = TakenMail { message: mails[2].message.replace('2', "3"), ..mail(2) };
        assert!(check(&payouts, &[&mails[..2], &[other]]).is_err(), "one tells another amount");
    }

    #[test]
    fn only_a_kill_explains_the_same_mail_again() {
        let payouts: Vec<_> = (0..20).map(payout).collect();
        let mails: Vec<_> = (0..20).map(mail).collect();
        let twice = [mails.as_slice(), &mails[..1]].concat();
        assert!(check(&payouts, &[&twice]).is_err(), "nobody was killed");
        assert!(check(&payouts, &[&[], &twice]).is_err(), "who was killed had not sent it");
        assert_eq!(check(&payouts, &[&mails[..15], &mails[12..]]).unwrap(), 3);
        assert!(check(&payouts, &[&mails[..15], &mails[5..]]).is_err(), "so many were never under way");
        let mut changed = mails.clone();
        changed[0].message.push('!');
        assert!(check(&payouts, &[&mails[..1], &changed]).is_err());
    }

    #[test]
    fn folded_headers_are_read() {
        let mail = "To: a@b\r\nSubject: one\r\n two\r\nFrom: c\r\n\r\nSubject: body\r\n";
        assert_eq!(header(mail, "subject").as_deref(), Some("one two"));
        assert_eq!(header(mail, "From").as_deref(), Some("c"));
        assert_eq!(header(mail, "Cc"), None);
    }
}
