//! The one list of all capabilities. A new one is a module with an implementation of [`Capability`]
//! and a line here.
//!
//! The order matters: it is the order of an event's outputs, so records go before mails.

use crate::capability::Capability;

/// Every interface of the host that a manifest can grant.
pub(crate) fn all() -> Vec<Box<dyn Capability>> {
    vec![
        Box::new(crate::sql::Sql),
        Box::new(crate::keyvalue::KeyValue),
        Box::new(crate::http::Http),
        Box::new(crate::config::Config),
        Box::new(crate::producer::Producer),
        Box::new(crate::mail::Mail),
        Box::new(crate::logging::Logging),
    ]
}
