//! Whether a component fits its manifest, found out without a database, a broker or an instance.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use keylane_capability::{Capabilities, CapabilityLimits, HostResources};
use keylane_deployment::Manifest;
use keylane_engine::{Acknowledgement, OutgoingRecord, PublishError, Publisher};
use keylane_guest::{GuestEngine, GuestOptions, Revision};

/// Checks what a manifest names on disk, and that the component is a handler whose imports are granted.
///
/// # Errors
/// Says what is wrong with the files or the component, and what to do.
pub(crate) async fn check(manifest: &Manifest, file: &Path) -> anyhow::Result<()> {
    manifest.check_files(file)?;
    let options = GuestOptions { instances: 1, ..GuestOptions::for_handlers([&manifest.limits]) };
    let capabilities = Capabilities::new(HostResources {
        databases: BTreeMap::new(),
        publisher: Arc::new(NoPublisher),
        mailer: None,
        config: BTreeMap::new(),
        limits: CapabilityLimits::default(),
    });
    let folder = file.parent().unwrap_or_else(|| Path::new(""));
    Revision::fit(&GuestEngine::new(options)?, manifest, folder, &capabilities).await?;
    Ok(())
}

/// Stands where a check needs no publisher: nothing runs, so nothing is published.
struct NoPublisher;

impl Publisher for NoPublisher {
    fn publish(
        &self,
        record: OutgoingRecord,
    ) -> Pin<Box<dyn Future<Output = Result<Acknowledgement, PublishError>> + Send + '_>> {
        let reason = "nothing is published during a check".to_owned();
        Box::pin(std::future::ready(Err(PublishError { topic: record.topic, reason, can_retry: false })))
    }
}
