//! A witness that keeps a ledger: it does with an event what the event's value says, and all that it tells of
//! it, it tells by effects that must happen once: a row, a record, and for some events a mail. `tests/chaos`
//! writes such values and compares what is left.
//!
//! A value is one line, `ID FATE NUMBER`, and any bytes after it:
//! - `done 0`: nothing else happens.
//! - `slow MS`: it takes so many milliseconds, in the middle of its transaction.
//! - `retry N`, `trap N`, `spin N`: the first N attempts fail in this way, after they have written.
//! - `swallow N`: the first N attempts go on after a statement that failed, and say that all is well.
//! - `reject 0`: no attempt can help.
//!
//! What it tells, in the row and in the record: `HOST PARTITION OFFSET ATTEMPT BEGAN-MS ENDED-MS`. The rows of
//! a key are a chain: each has the number and the offset that its account says are next and last.

#![allow(missing_docs, unsafe_code, clippy::too_many_arguments, reason = "generated bindings")]

wit_bindgen::generate!({ path: "../../../wit", world: "handler", generate_all });

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keylane::handler::mail;
use keylane::handler::producer::{self, Message};
use keylane::handler::sql::{Database, Error, Value};
use keylane::handler::types::RetryRequest;

struct Witness;

/// Who tells. Each host gets a copy of the component in which the digits are its own.
static HOST: [u8; 24] = *b"witness-of-host:00000000";
/// Before the digits.
const DIGITS_FROM: usize = 16;

/// Where it tells.
const TOPIC: &str = "chaos-seen";
/// Every so many values, one changes a row that all keys share, or sends a mail.
const SHARED_EVERY: u64 = 16;
const MAIL_EVERY: u64 = 10;

/// Statements that fail. The second one ends a whole transaction of SQLite: its table says so, since a statement
/// that says it itself is refused before the database sees it.
const FAILING: [&str; 2] =
    ["INSERT INTO total (one, entries) VALUES (1, 0)", "INSERT INTO single (one) VALUES (1)"];

/// What is to be done.
struct Task {
    id: u64,
    fate: String,
    number: u64,
    began_ms: u128,
}

impl Guest for Witness {
    fn handle(event: Event) -> Result<(), Failure> {
        let task = Task::of(&event);
        if task.fate == "reject" {
            return Err(Failure::Reject("the value says so".to_owned()));
        }
        let told = task.write(&event).map_err(|error| retry(format!("{error:?}")))?;
        task.tell(&event, &told)?;
        task.meet_its_fate(&event)
    }
}

impl Task {
    fn of(event: &Event) -> Self {
        let began_ms = now_ms();
        let value = event.value.as_deref().unwrap_or_default();
        let line = value.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).unwrap_or_default();
        let id = number(words.next());
        let fate = words.next().unwrap_or_default().to_owned();
        Self { id, fate, number: number(words.next()), began_ms }
    }

    /// Writes the ledger's row and what hangs on it. Answers what it tells.
    fn write(&self, event: &Event) -> Result<String, Error> {
        let database = Database::open("ledger")?;
        let key = event.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
        let account = key.as_ref().map(|key| Account::of(&database, event, key)).transpose()?;
        if self.fate == "slow" {
            std::thread::sleep(Duration::from_millis(self.number));
        }
        let told = self.told(event);
        let (entry, after) = match &account {
            Some(account) => (Value::Integer(account.entries + 1), Value::Integer(account.last)),
            None => (Value::Null, Value::Null),
        };
        let row = [
            Value::Integer(i64::try_from(self.id).unwrap_or(-1)),
            Value::Integer(event.partition.into()),
            Value::Integer(event.offset),
            key.map_or(Value::Null, Value::Text),
            entry,
            after,
            Value::Text(told.clone()),
        ];
        let insert = "INSERT INTO ledger (value_id, source_partition, source_offset, record_key, entry, after_offset, told) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7)";
        // Each second one is sent with others of its run.
        if self.id.is_multiple_of(2) {
            database.append(insert, &row)?;
        } else {
            database.execute(insert, &row)?;
        }
        if let Some(account) = account {
            account.move_on(&database, event)?;
        }
        if self.id.is_multiple_of(SHARED_EVERY) {
            database.execute("UPDATE total SET entries = entries + 1 WHERE one = 1", &[])?;
        }
        if self.fate == "swallow" && u64::from(event.attempt) <= self.number {
            let [fails, ends] = FAILING;
            // Each of them comes after rows that were sent at once, and after those that were not.
            let failing = if (self.id / 2).is_multiple_of(2) { fails } else { ends };
            // It behaves as if nothing were wrong, and so does what follows, which must leave nothing either.
            let _ = database.execute(failing, &[]);
            let _ = database.execute("UPDATE total SET entries = entries + 1 WHERE one = 1", &[]);
        }
        Ok(told)
    }

    fn tell(&self, event: &Event, told: &str) -> Result<(), Failure> {
        let message = Message {
            topic: TOPIC.to_owned(),
            key: event.key.clone(),
            value: Some(told.as_bytes().to_vec()),
            headers: Vec::new(),
        };
        producer::send(&message).map_err(|error| retry(format!("{error:?}")))?;
        if self.id.is_multiple_of(MAIL_EVERY) {
            let mail = mail::Message {
                id: None,
                to: format!("value-{}@example.org", self.id),
                subject: format!("value {}", self.id),
                body: format!("{told}\n"),
            };
            mail::send(&mail).map_err(|error| retry(format!("{error:?}")))?;
        }
        Ok(())
    }

    fn meet_its_fate(&self, event: &Event) -> Result<(), Failure> {
        let fails = u64::from(event.attempt) <= self.number;
        match self.fate.as_str() {
            "done" | "slow" | "swallow" => Ok(()),
            "retry" if fails => Err(retry(format!("attempt {} of {}", event.attempt, self.number))),
            "trap" if fails => std::process::abort(),
            "spin" if fails => spin(),
            "retry" | "trap" | "spin" => Ok(()),
            fate => Err(Failure::Reject(format!("the fate is {fate:?}"))),
        }
    }

    fn told(&self, event: &Event) -> String {
        let host = std::hint::black_box(&HOST).iter().skip(DIGITS_FROM).map(|digit| char::from(*digit));
        let host: String = host.collect();
        let (Event { partition, offset, attempt, .. }, began_ms) = (event, self.began_ms);
        format!("{host} {partition} {offset} {attempt} {began_ms} {}", now_ms())
    }
}

/// Where a key of a partition stands.
struct Account {
    key: String,
    /// Its rows.
    entries: i64,
    /// The offset of the last one; -1 if there is none.
    last: i64,
}

impl Account {
    fn of(database: &Database, event: &Event, key: &str) -> Result<Self, Error> {
        let query =
            "SELECT entries, last_offset FROM account WHERE source_partition = $1 AND record_key = $2";
        let place = [Value::Integer(event.partition.into()), Value::Text(key.to_owned())];
        let rows = database.query(query, &place)?.rows;
        let (entries, last) = match rows.first().map(Vec::as_slice) {
            Some([Value::Integer(entries), Value::Integer(last)]) => (*entries, *last),
            _ => (0, -1),
        };
        Ok(Self { key: key.to_owned(), entries, last })
    }

    fn move_on(self, database: &Database, event: &Event) -> Result<(), Error> {
        let statement = if self.entries == 0 {
            "INSERT INTO account (source_partition, record_key, entries, last_offset) VALUES ($1, $2, $3, $4)"
        } else {
            "UPDATE account SET entries = $3, last_offset = $4 WHERE source_partition = $1 AND record_key = $2"
        };
        let row = [
            Value::Integer(event.partition.into()),
            Value::Text(self.key),
            Value::Integer(self.entries + 1),
            Value::Integer(event.offset),
        ];
        database.execute(statement, &row).map(drop)
    }
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

fn retry(reason: String) -> Failure {
    Failure::Retry(RetryRequest { reason, after_ms: None })
}

export!(Witness);
