//! The mails: one file for each payout, to the right worker, with the right amount.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::books::Books;
use super::same;

/// Compares the folder of mails with the books.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(books: &Books, folder: &Path) -> Result<()> {
    let (mut found, mut ids) = (Vec::new(), BTreeSet::new());
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "eml") {
            // A file that a killed host did not finish has another name until it is whole.
            continue;
        }
        let mail = std::fs::read_to_string(&file)?;
        let header =
            |name: &str| header(&mail, name).with_context(|| format!("{}: no {name}", file.display()));
        ensure!(ids.insert(header("Message-ID")?), "{}: a second mail of its Message-ID", file.display());
        found.push((header("To")?, header("Subject")?, header("From")?));
    }
    let mut wanted: Vec<_> = books
        .payouts()
        .map(|payout| {
            let paid = -payout.amount;
            let units = if paid == 1 { "unit" } else { "units" };
            (
                format!("{}@workers.example", payout.worker),
                format!("Your payout for {}: {paid} {units}", payout.day),
                "payroll@exchange.example".to_owned(),
            )
        })
        .collect();
    found.sort();
    wanted.sort();
    same("mails", &found, &wanted)
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
    use super::header;

    #[test]
    fn folded_headers_are_read() {
        let mail = "To: a@b\r\nSubject: one\r\n two\r\nFrom: c\r\n\r\nSubject: body\r\n";
        assert_eq!(header(mail, "subject").as_deref(), Some("one two"));
        assert_eq!(header(mail, "From").as_deref(), Some("c"));
        assert_eq!(header(mail, "Cc"), None);
    }
}
