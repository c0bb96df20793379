//! The topics' records, from a seed.

use std::time::Duration;

use anyhow::{Result, ensure};
use keylane_e2e::story::{Numbers, Zipf};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;

use super::plan::{EffectsPlan, Rows};
use crate::books::{EVENT_TYPE, EntryMade};

/// How long the broker may take for the last records.
const FLUSH_LIMIT: Duration = Duration::from_secs(120);
/// A prime above any number of accounts, so that each rank has an account of its own.
const APART: usize = 104_729;

/// Draws what events say.
pub(super) struct Draws {
    numbers: Numbers,
    zipf: Zipf,
    accounts: usize,
    even: bool,
}

impl Draws {
    pub(super) fn of(plan: &EffectsPlan) -> Self {
        let accounts = plan.accounts as usize;
        Self { numbers: Numbers(plan.seed), zipf: Zipf::new(accounts), accounts, even: plan.even }
    }

    /// The busiest ones do not lie beside each other: in real books their numbers have nothing to do with that.
    fn account(&mut self) -> usize {
        let rank =
            if self.even { self.numbers.below(self.accounts) } else { self.zipf.draw(&mut self.numbers) };
        rank * APART % self.accounts.max(1)
    }

    /// The next event: its key and its value.
    ///
    /// # Errors
    /// Never: the value can be written as JSON.
    pub(super) fn next(&mut self, number: u64, rows: Rows) -> Result<(String, String)> {
        let key = self.account();
        let account = if rows == Rows::Shared { self.account() } else { key };
        let amount = i64::try_from(self.numbers.below(1_000_000))?;
        let made = EntryMade { number, account: i64::try_from(account)?, amount };
        Ok((format!("account-{key:08}"), serde_json::to_string(&made)?))
    }
}

/// The headers of each record.
pub(super) fn headers() -> OwnedHeaders {
    OwnedHeaders::new().insert(Header { key: "ce_type", value: Some(EVENT_TYPE) })
}

/// Writes a topic.
///
/// # Errors
/// When not all records are acknowledged.
pub(super) fn write(plan: &EffectsPlan, broker: &str, topic: &str, rows: Rows, records: u32) -> Result<()> {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker)
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "20")
        .create()?;
    let mut draws = Draws::of(plan);
    for number in 0..u64::from(records) {
        let (key, value) = draws.next(number, rows)?;
        let mut record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers());
        // Waits where the client's queue is full.
        while let Err((error, refused)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(error == full, "a record could not be written: {error}");
            record = refused;
            producer.poll(Duration::from_millis(10));
        }
    }
    producer.flush(FLUSH_LIMIT)?;
    ensure!(producer.in_flight_count() == 0, "{topic}: not everything was written");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plan: EffectsPlan,
    }

    #[test]
    fn accounts_are_drawn_from_all_and_are_the_key_where_rows_are_their_own() {
        let line = Line::try_parse_from(["bench", "--accounts", "50", "--even"]).unwrap();
        let mut draws = Draws::of(&line.plan);
        let mut drawn = BTreeSet::new();
        for number in 0..5_000 {
            let (key, value) = draws.next(number, Rows::OfItsKey).unwrap();
            let made: EntryMade = serde_json::from_str(&value).unwrap();
            assert_eq!((key, made.number), (format!("account-{:08}", made.account), number));
            drawn.insert(made.account);
        }
        assert_eq!(drawn, (0..50).collect());
    }
}
