//! Buckets of values by key, by `wasi:keyvalue`, in the database that the handler writes to. What an event
//! changes becomes real once, together with the fact that it is done. An operation that fails dooms its
//! event, as a failed statement does.

use crate::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::error::Error;

/// A bucket.
#[derive(Debug)]
pub struct Bucket {
    resource: store::Bucket,
}

impl Bucket {
    /// Opens a bucket by the name the manifest gives it. Costs nothing until it is asked for something.
    ///
    /// # Errors
    /// [`Error::NotGranted`] if the manifest grants no bucket of this name.
    pub fn open(name: &str) -> Result<Bucket, Error> {
        let told = |error| match error {
            store::Error::NoSuchStore | store::Error::AccessDenied => {
                Error::NotGranted(format!("bucket {name:?}"))
            }
            store::Error::Other(why) => Error::KeyValue(why),
        };
        Ok(Bucket { resource: store::open(name).map_err(told)? })
    }

    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// What the host answered; after any error the event cannot end well any more. So it is with all others.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.resource.get(key)?)
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        Ok(self.resource.set(key, value)?)
    }

    /// Deletes the value of a key, if it has one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(self.resource.delete(key)?)
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.resource.exists(key)?)
    }

    /// A page of keys in the order of their bytes, and where the next page begins, if there is one.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn keys(&self, cursor: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        let page = self.resource.list_keys(cursor)?;
        Ok((page.keys, page.cursor))
    }

    /// Adds to a number and answers the sum. A number is kept as its decimal digits; a missing one is 0.
    ///
    /// # Errors
    /// As [`Self::get`], also where the value is no number or the sum does not fit.
    pub fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        Ok(atomics::increment(&self.resource, key, delta)?)
    }

    /// The values of several keys, in their order.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let pairs = batch::get_many(&self.resource, keys)?;
        Ok(pairs.into_iter().map(|pair| pair.map(|(_, value)| value)).collect())
    }

    /// Sets the values of several keys.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        Ok(batch::set_many(&self.resource, pairs)?)
    }

    /// Deletes the values of several keys.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn delete_many(&self, keys: &[String]) -> Result<(), Error> {
        Ok(batch::delete_many(&self.resource, keys)?)
    }
}
