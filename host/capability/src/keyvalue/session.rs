//! The session of one instance with its buckets: what is asked of them, in the run of the event at work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use keylane_effects::{KeyAsk, KeyRequest, KeyRow, StatementError};

use crate::at_work::{AtWork, Failed};
use crate::capability::Session;
use crate::error::EffectsError;
use crate::limits::CapabilityLimits;

/// What all instances of a revision share.
pub(crate) struct Granted {
    /// The buckets that the manifest grants.
    pub buckets: BTreeSet<String>,
    /// The name that the manifest gives to the database that they are kept in.
    pub database: String,
    /// How long one call may take.
    pub host_call: Duration,
    /// The host's own limits.
    pub limits: CapabilityLimits,
    /// Calls of this handler.
    pub asked: metrics::Counter,
    /// Events of this handler that a failed call doomed.
    pub doomed: metrics::Counter,
    /// Calls of this handler that passed a limit.
    pub limits_reached: metrics::Counter,
}

/// The session of one instance.
pub(crate) struct KeyValueSession {
    granted: Arc<Granted>,
    at: Option<Arc<AtWork>>,
}

/// A value as it is set: its key first.
pub(crate) type Pair = (String, Vec<u8>);

impl KeyValueSession {
    pub(crate) fn new(granted: Arc<Granted>) -> Self {
        Self { granted, at: None }
    }

    /// Whether the manifest grants a bucket of this name.
    pub(crate) fn grants(&self, bucket: &str) -> bool {
        self.granted.buckets.contains(bucket)
    }

    /// The value of a key. `for_change`: nobody else may change it until the run ends.
    pub(crate) async fn get(
        &self,
        bucket: &str,
        key: &str,
        for_change: bool,
    ) -> Result<Option<Vec<u8>>, Failed> {
        let keys = vec![key.to_owned()];
        let rows = self.rows(bucket, keys, for_change).await?;
        Ok(rows.into_iter().find_map(|row| row.value))
    }

    /// The values of these keys, in their order.
    pub(crate) async fn get_many(
        &self,
        bucket: &str,
        keys: Vec<String>,
    ) -> Result<Vec<Option<Pair>>, Failed> {
        let at = self.ready()?;
        self.bounded(&at, keys.iter())?;
        let asked: BTreeSet<String> = keys.iter().cloned().collect();
        let rows = self.rows(bucket, asked.into_iter().collect(), false).await?;
        let values: BTreeMap<Vec<u8>, Option<Vec<u8>>> =
            rows.into_iter().map(|row| (row.key, row.value)).collect();
        // A key that is asked for twice is answered twice.
        let value = |key: &String| values.get(key.as_bytes()).and_then(Option::as_ref);
        let bytes = keys.iter().filter_map(value).map(Vec::len).fold(0, usize::saturating_add);
        let most = self.granted.limits.result_bytes;
        if bytes > most {
            return Err(self.limit(&at, format!("the values weigh more than {most} bytes")));
        }
        Ok(keys.iter().map(|key| value(key).map(|value| (key.clone(), value.clone()))).collect())
    }

    /// Sets values; of a key that stands there twice, the last one.
    pub(crate) async fn set(&self, bucket: &str, pairs: Vec<Pair>) -> Result<(), Failed> {
        let at = self.ready()?;
        self.bounded(&at, pairs.iter().map(|(key, _)| key))?;
        let limits = &self.granted.limits;
        let over = pairs.iter().map(|(_, value)| value.len()).find(|length| *length > limits.value_bytes);
        if let Some(bytes) = over {
            return Err(
                self.limit(&at, format!("the value has {bytes} bytes, {} are allowed", limits.value_bytes))
            );
        }
        let bytes = pairs.iter().map(|(_, value)| value.len()).fold(0, usize::saturating_add);
        if bytes > limits.parameter_bytes {
            return Err(self.limit(
                &at,
                format!("the values have {bytes} bytes together, {} are allowed", limits.parameter_bytes),
            ));
        }
        let pairs: BTreeMap<String, Vec<u8>> = pairs.into_iter().collect();
        let pairs = pairs.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        self.ask(&at, bucket, KeyAsk::Put(pairs)).await.map(drop)
    }

    /// Deletes the values of these keys.
    pub(crate) async fn delete(&self, bucket: &str, keys: Vec<String>) -> Result<(), Failed> {
        let at = self.ready()?;
        self.bounded(&at, keys.iter())?;
        let keys = keys.into_iter().map(String::into_bytes).collect();
        self.ask(&at, bucket, KeyAsk::Delete(keys)).await.map(drop)
    }

    /// A page of keys, and whether there are more.
    pub(crate) async fn list(
        &self,
        bucket: &str,
        after: Option<String>,
    ) -> Result<(Vec<String>, bool), Failed> {
        let at = self.ready()?;
        let page = self.granted.limits.keys;
        let ask = KeyAsk::List { after: after.map(String::into_bytes), keys_max: page.saturating_add(1) };
        let rows = self.ask(&at, bucket, ask).await?;
        let more = rows.len() > page;
        let keys: Result<Vec<String>, _> =
            rows.into_iter().take(page).map(|row| String::from_utf8(row.key)).collect();
        let no_text = |_| StatementError::Refused("a key of the bucket is no text".to_owned());
        let keys = keys.map_err(|error| self.doomed(&at, no_text(error)))?;
        Ok((keys, more))
    }

    /// Adds to a number, which is kept as decimal digits; a missing one is 0.
    pub(crate) async fn increment(&self, bucket: &str, key: &str, delta: i64) -> Result<i64, Failed> {
        let stands = self.get(bucket, key, true).await?;
        let at = self.ready()?;
        let number = match &stands {
            None => Some(0),
            Some(value) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok()),
        };
        let refused = |said: &str| self.doomed(&at, StatementError::Refused(said.to_owned()));
        let number = number.ok_or_else(|| refused("the value is no whole number of 64 bits"))?;
        let sum = number.checked_add(delta).ok_or_else(|| refused("the sum does not fit 64 bits"))?;
        self.set(bucket, vec![(key.to_owned(), sum.to_string().into_bytes())]).await?;
        Ok(sum)
    }

    async fn rows(&self, bucket: &str, keys: Vec<String>, for_change: bool) -> Result<Vec<KeyRow>, Failed> {
        let at = self.ready()?;
        self.bounded(&at, keys.iter())?;
        let keys = keys.into_iter().map(String::into_bytes).collect();
        let ask = KeyAsk::Get { keys, for_change, bytes_max: self.granted.limits.result_bytes };
        self.ask(&at, bucket, ask).await
    }

    /// The event at work, if it may still do anything.
    fn ready(&self) -> Result<Arc<AtWork>, Failed> {
        let Some(at) = self.at.clone() else {
            let said = "no event is at work, so there is nothing to keep a value for".to_owned();
            return Err(Failed::Told(StatementError::Refused(said)));
        };
        if at.is_doomed() {
            return Err(Failed::Told(StatementError::Aborted));
        }
        Ok(at)
    }

    fn bounded<'k>(&self, at: &AtWork, keys: impl Iterator<Item = &'k String>) -> Result<(), Failed> {
        let limits = &self.granted.limits;
        for (count, key) in (1..).zip(keys) {
            if count > limits.keys {
                return Err(self.limit(at, format!("one call may name {} keys", limits.keys)));
            }
            if key.len() > limits.key_bytes {
                let said = format!("the key has {} bytes, {} are allowed", key.len(), limits.key_bytes);
                return Err(self.limit(at, said));
            }
        }
        Ok(())
    }

    async fn ask(&self, at: &AtWork, bucket: &str, ask: KeyAsk) -> Result<Vec<KeyRow>, Failed> {
        self.granted.asked.increment(1);
        let request = KeyRequest { bucket: bucket.to_owned(), ask };
        let deadline = self.granted.host_call;
        match at.in_run(|run| run.keyvalue(request, deadline)).await {
            Err(Failed::Told(error)) => Err(self.doomed(at, error)),
            answer => answer,
        }
    }

    fn limit(&self, at: &AtWork, said: String) -> Failed {
        self.doomed(at, StatementError::Limit(said))
    }

    /// A call failed, and its event with it.
    fn doomed(&self, at: &AtWork, error: StatementError) -> Failed {
        if matches!(error, StatementError::Limit(_)) {
            self.granted.limits_reached.increment(1);
        }
        self.granted.doomed.increment(1);
        at.doom(&self.granted.database, &error);
        Failed::Told(error)
    }
}

impl Session for KeyValueSession {
    fn begin(&mut self, at: &Arc<AtWork>) {
        self.at = Some(at.clone());
    }

    fn close(&mut self) -> Result<(), EffectsError> {
        self.at.take().map_or(Ok(()), |at| at.close())
    }

    fn forget(&mut self) {
        self.at = None;
    }
}
