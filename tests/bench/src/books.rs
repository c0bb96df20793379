//! The books that both engines keep: their tables, and what an event says. keylane's side of it is the
//! component `tests/guests/bookkeeper`; the one written by hand has the same statements and two tables more.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Where both engines tell how an account stands; the component knows it.
pub(crate) const BALANCES: &str = "bench-balances";
/// The type of the events; the component knows it.
pub(crate) const EVENT_TYPE: &str = "entry.made";
/// Where the other side of each entry is booked.
pub(crate) const HOUSE: i64 = -1;

/// What an event says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct EntryMade {
    /// From 0.
    pub(crate) number: u64,
    /// The account.
    pub(crate) account: i64,
    /// What it gains.
    pub(crate) amount: i64,
}

/// What is told of an account after an event.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Balance {
    /// The event.
    pub(crate) number: u64,
    /// The account.
    pub(crate) account: i64,
    /// How many entries it has by then.
    pub(crate) entries: i64,
    /// What it holds by then.
    pub(crate) balance: i64,
}

/// How many accounts there are, and how full PostgreSQL fills their pages at first, in hundredths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accounts {
    pub(crate) number: u32,
    pub(crate) fill: u32,
}

/// The tables that both have.
pub(crate) fn tables(url: &str, accounts: Accounts) -> String {
    let Accounts { number, fill } = accounts;
    let storage =
        if url.starts_with("sqlite:") { String::new() } else { format!(" WITH (fillfactor = {fill})") };
    let mut text = format!(
        "CREATE TABLE account (account BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL, \
         entries BIGINT NOT NULL){storage};\n\
         CREATE TABLE entry (source_partition BIGINT NOT NULL, source_offset BIGINT NOT NULL, \
         side BIGINT NOT NULL, account BIGINT NOT NULL, amount BIGINT NOT NULL, \
         PRIMARY KEY (source_partition, source_offset, side));\n\
         INSERT INTO account (account, balance, entries) VALUES ",
    );
    for account in 0..number {
        let comma = if account == 0 { "" } else { "," };
        // Writing to a text cannot fail.
        let _ = write!(text, "{comma}({account},0,0)");
    }
    text.push_str(";\n");
    text
}

/// What the one written by hand has beside them: what was handled before, and what has to leave.
pub(crate) fn tables_by_hand(url: &str) -> String {
    let outbox = if url.starts_with("sqlite:") {
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, value TEXT NOT NULL);\n"
    } else {
        // As the host's own outbox has it: rows come and go, and the dead ones must not pile up.
        "CREATE TABLE outbox (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key TEXT NOT NULL, \
         value TEXT NOT NULL) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);\n"
    };
    let handled = "CREATE TABLE handled (source_partition BIGINT NOT NULL, source_offset BIGINT NOT NULL, \
         PRIMARY KEY (source_partition, source_offset));\n";
    format!("{handled}{outbox}")
}

/// Statements of the consumer written by hand, in their order.
pub(crate) const HANDLED: &str =
    "INSERT INTO handled (source_partition, source_offset) VALUES ($1, $2) ON CONFLICT DO NOTHING";
pub(crate) const ACCOUNT: &str = "SELECT balance, entries FROM account WHERE account = $1";
pub(crate) const ENTRY: &str = "INSERT INTO entry (source_partition, source_offset, side, account, amount) \
     VALUES ($1, $2, $3, $4, $5)";
pub(crate) const CHANGE: &str =
    "UPDATE account SET balance = balance + $2, entries = entries + 1 WHERE account = $1";
pub(crate) const OUTBOX: &str = "INSERT INTO outbox (key, value) VALUES ($1, $2)";
