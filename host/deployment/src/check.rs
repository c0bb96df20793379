//! From the manifest as it is written to the checked one. Whatever this version cannot keep, and whatever
//! contradicts itself, is refused here, before anything starts.

mod dead_letters;
mod delivery;
mod grants;
mod guarantee;
mod http;
mod limits;
mod subscribe;
mod values;
mod words;

use toml::Spanned;

use crate::document::Document;
use crate::error::DeploymentError;
use crate::manifest::Manifest;
use crate::names::name_problem;
use crate::raw::RawManifest;

type Checked<T> = Result<T, DeploymentError>;

/// Checks the whole manifest.
pub(crate) fn manifest(document: &Document, raw: RawManifest) -> Checked<Manifest> {
    if let Some(problem) = name_problem(raw.name.get_ref()) {
        return Err(document.refuse(raw.name.span(), problem));
    }
    if raw.component.get_ref().as_os_str().is_empty() {
        return Err(document.refuse(raw.component.span(), "name the component's file"));
    }
    let name = raw.name.into_inner();
    let subscribe = subscribe::subscribe(document, raw.subscribe, &name)?;
    let http_at = raw.grants.http.as_ref().map(Spanned::span);
    let grants = grants::grants(document, raw.grants)?;
    let delivery = delivery::delivery(document, raw.delivery, &grants)?;
    http::may_repeat(document, http_at, &grants, delivery.guarantee)?;
    Ok(Manifest {
        dead_letters: dead_letters::dead_letters(
            document,
            raw.dead_letters,
            &subscribe,
            delivery.then,
            &name,
        )?,
        name,
        component: raw.component.into_inner(),
        subscribe,
        delivery,
        grants,
        limits: limits::limits(document, raw.limits)?,
    })
}
