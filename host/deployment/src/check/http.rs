//! Checks `[grants.http]`: where requests may go, and that what is promised can be kept beside them.

use std::ops::Range;

use super::Checked;
use super::words::distinct;
use crate::bounds;
use crate::document::Document;
use crate::hosts::HttpHost;
use crate::manifest::{Grants, Guarantee, HttpGrant};
use crate::raw::RawHttpGrant;

pub(super) fn http_grant(document: &Document, raw: RawHttpGrant) -> Checked<HttpGrant> {
    if raw.hosts.get_ref().is_empty() {
        return Err(document.refuse(raw.hosts.span(), "name at least one host"));
    }
    let at = raw.hosts.span();
    let hosts = distinct(document, raw.hosts.into_inner(), |host| host.parse::<HttpHost>().err())?;
    let hosts: Result<Vec<HttpHost>, String> = hosts.iter().map(|host| host.parse()).collect();
    Ok(HttpGrant {
        hosts: hosts.map_err(|problem| document.refuse(at, problem))?,
        idempotency_key: raw.idempotency_key,
        requests_max: bounds::REQUESTS.check(document, raw.requests_max)?.get(),
        request_bytes_max: bounds::HTTP_BODY.check(document, raw.request_max)?.bytes(),
        response_bytes_max: bounds::HTTP_BODY.check(document, raw.response_max)?.bytes(),
    })
}

/// A request cannot be taken back when its event is undone and handled again: exactly once needs a key by
/// which the other side knows a repeat.
pub(super) fn may_repeat(
    document: &Document,
    span: Option<Range<usize>>,
    grants: &Grants,
    guarantee: Guarantee,
) -> Checked<()> {
    let (Some(span), Some(http)) = (span, &grants.http) else { return Ok(()) };
    if guarantee == Guarantee::AtLeastOnce || http.idempotency_key {
        return Ok(());
    }
    let problem = "a request cannot be taken back when its event is undone and handled again, so the effects of \
                   this handler would not happen exactly once";
    Err(document.refuse(span, problem).with_hint(
        "write idempotency-key = true, if the hosts take a request that carries a key they know as done",
    ))
}
