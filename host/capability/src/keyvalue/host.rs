//! The host's side of `wasi:keyvalue`: calls go to the session of the instance.

use std::sync::Arc;

use keylane_effects::StatementError;
use sha2::{Digest, Sha256};
use wasmtime::component::Resource;

use crate::at_work::{Failed, told};
use crate::keyvalue::session::{KeyValueSession, Pair};
use crate::keyvalue::store::{Error, KeyResponse};
use crate::keyvalue::{atomics, batch, store};
use crate::state::GuestState;

/// What a guest's handle to a bucket stands for: nothing but its name, the grant of which was checked when
/// it was opened. So it outlives an event.
pub struct BucketHandle {
    name: Arc<str>,
}

/// What a guest's handle to a change by comparison stands for: what it has seen, as a digest, so that a
/// handle holds no value.
pub struct SwapHandle {
    bucket: Arc<str>,
    key: String,
    seen: Seen,
}

/// The digest of a value; none where there was none.
type Seen = Option<[u8; 32]>;

fn seen(value: &Option<Vec<u8>>) -> Seen {
    value.as_ref().map(|value| Sha256::digest(value).into())
}

fn error(error: StatementError) -> Error {
    match error {
        StatementError::NotGranted(_) => Error::AccessDenied,
        error => Error::Other(error.to_string()),
    }
}

fn too_many_handles() -> Error {
    Error::Other("this instance holds too many open handles".to_owned())
}

type Answer<T> = wasmtime::Result<Result<T, Error>>;

impl GuestState {
    fn bucket(&self, bucket: &Resource<BucketHandle>) -> wasmtime::Result<Arc<str>> {
        Ok(self.table.get(bucket)?.name.clone())
    }

    /// A handle to a change of what stands now.
    async fn swap_handle(
        &mut self,
        bucket: Arc<str>,
        key: String,
    ) -> wasmtime::Result<Result<Result<Resource<SwapHandle>, Error>, Failed>> {
        let value = match self.session::<KeyValueSession>()?.get(&bucket, &key, false).await {
            Ok(value) => value,
            Err(failed) => return Ok(Err(failed)),
        };
        let handle = self.table.push(SwapHandle { bucket, key, seen: seen(&value) });
        Ok(Ok(handle.map_err(|_| too_many_handles())))
    }
}

impl store::Host for GuestState {
    async fn open(&mut self, identifier: String) -> Answer<Resource<BucketHandle>> {
        let _call = self.host_call();
        if !self.session::<KeyValueSession>()?.grants(&identifier) {
            return Ok(Err(Error::AccessDenied));
        }
        let handle = self.table.push(BucketHandle { name: identifier.into() });
        Ok(handle.map_err(|_| too_many_handles()))
    }
}

impl store::HostBucket for GuestState {
    async fn get(&mut self, bucket: Resource<BucketHandle>, key: String) -> Answer<Option<Vec<u8>>> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.get(&bucket, &key, false).await, error)
    }

    async fn set(&mut self, bucket: Resource<BucketHandle>, key: String, value: Vec<u8>) -> Answer<()> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.set(&bucket, vec![(key, value)]).await, error)
    }

    async fn delete(&mut self, bucket: Resource<BucketHandle>, key: String) -> Answer<()> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.delete(&bucket, vec![key]).await, error)
    }

    async fn exists(&mut self, bucket: Resource<BucketHandle>, key: String) -> Answer<bool> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        let value = self.session::<KeyValueSession>()?.get(&bucket, &key, false).await;
        told(value.map(|value| value.is_some()), error)
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<BucketHandle>,
        cursor: Option<String>,
    ) -> Answer<KeyResponse> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        let page = self.session::<KeyValueSession>()?.list(&bucket, cursor).await;
        let page = page.map(|(keys, more)| {
            let cursor = keys.last().filter(|_| more).cloned();
            KeyResponse { keys, cursor }
        });
        told(page, error)
    }

    async fn drop(&mut self, bucket: Resource<BucketHandle>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for GuestState {
    async fn increment(&mut self, bucket: Resource<BucketHandle>, key: String, delta: i64) -> Answer<i64> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.increment(&bucket, &key, delta).await, error)
    }

    async fn swap(
        &mut self,
        handle: Resource<SwapHandle>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let _call = self.host_call();
        let SwapHandle { bucket, key, seen: expected } = self.table.delete(handle)?;
        let session = self.session::<KeyValueSession>()?;
        let stands = match session.get(&bucket, &key, true).await {
            Ok(stands) => stands,
            Err(failed) => return told(Err(failed), |said| atomics::CasError::StoreError(error(said))),
        };
        if seen(&stands) == expected {
            let set = session.set(&bucket, vec![(key, value)]).await;
            return told(set, |said| atomics::CasError::StoreError(error(said)));
        }
        let handle = self.table.push(SwapHandle { bucket, key, seen: seen(&stands) });
        Ok(Err(match handle {
            Ok(handle) => atomics::CasError::CasFailed(handle),
            Err(_) => atomics::CasError::StoreError(too_many_handles()),
        }))
    }
}

impl atomics::HostCas for GuestState {
    async fn new(&mut self, bucket: Resource<BucketHandle>, key: String) -> Answer<Resource<SwapHandle>> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        match self.swap_handle(bucket, key).await? {
            Ok(handle) => Ok(handle),
            Err(failed) => told(Err(failed), error),
        }
    }

    async fn current(&mut self, handle: Resource<SwapHandle>) -> Answer<Option<Vec<u8>>> {
        let _call = self.host_call();
        let SwapHandle { bucket, key, .. } = self.table.get(&handle)?;
        let (bucket, key) = (bucket.clone(), key.clone());
        let value = self.session::<KeyValueSession>()?.get(&bucket, &key, false).await;
        if let Ok(value) = &value {
            self.table.get_mut(&handle)?.seen = seen(value);
        }
        told(value, error)
    }

    async fn drop(&mut self, handle: Resource<SwapHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl batch::Host for GuestState {
    async fn get_many(
        &mut self,
        bucket: Resource<BucketHandle>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<Pair>>> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.get_many(&bucket, keys).await, error)
    }

    async fn set_many(&mut self, bucket: Resource<BucketHandle>, key_values: Vec<Pair>) -> Answer<()> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.set(&bucket, key_values).await, error)
    }

    async fn delete_many(&mut self, bucket: Resource<BucketHandle>, keys: Vec<String>) -> Answer<()> {
        let _call = self.host_call();
        let bucket = self.bucket(&bucket)?;
        told(self.session::<KeyValueSession>()?.delete(&bucket, keys).await, error)
    }
}
