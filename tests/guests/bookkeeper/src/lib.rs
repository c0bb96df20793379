//! A bookkeeper, small and like accounting: for each event it reads an account, writes both sides of an entry,
//! changes the account and publishes how it stands. `tests/bench` measures what that costs, and has the same
//! statements in a consumer that is written by hand.
#![allow(missing_docs, reason = "a test's component")]

use keylane_sdk::{Failure, Record, params, producer, sql::Database};

/// Where the other side of each entry is booked.
const HOUSE: i64 = -1;
/// Where is told how an account stands.
const TOPIC: &str = "bench-balances";

#[derive(serde::Deserialize)]
pub struct EntryMade {
    number: u64,
    account: i64,
    amount: i64,
}

#[derive(serde::Serialize)]
struct Balance {
    number: u64,
    account: i64,
    entries: i64,
    balance: i64,
}

keylane_sdk::events! { pub enum Event { "entry.made" => Made(EntryMade) } }
keylane_sdk::handler!(handle);

fn handle(event: Event, record: &Record) -> Result<(), Failure> {
    let Event::Made(EntryMade { number, account, amount }) = event;
    let (partition, offset) = (record.partition, record.offset);
    let ledger = Database::open("ledger")?;
    let rows = ledger.query("SELECT balance, entries FROM account WHERE account = $1", params![account])?;
    let row = rows.first().ok_or_else(|| Failure::reject("there is no such account"))?;
    let (balance, entries): (i64, i64) = (row.get("balance")?, row.get("entries")?);
    for (side, account, amount) in [(0, account, amount), (1, HOUSE, -amount)] {
        ledger.append(
            "INSERT INTO entry (source_partition, source_offset, side, account, amount) \
             VALUES ($1, $2, $3, $4, $5)",
            params![partition, offset, side, account, amount],
        )?;
    }
    ledger.execute(
        "UPDATE account SET balance = balance + $2, entries = entries + 1 WHERE account = $1",
        params![account, amount],
    )?;
    producer::Message::to(TOPIC)
        .key(record.key.clone().unwrap_or_default())
        .json(&Balance { number, account, entries: entries + 1, balance: balance + amount })?
        .send()?;
    Ok(())
}
