//! Checks `[grants.keyvalue]` and `[grants.config]`: what is asked for by name.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Checked;
use super::words::distinct;
use crate::bounds::CONFIG_VALUES_MAX;
use crate::document::Document;
use crate::manifest::{ConfigGrant, KeyValueGrant};
use crate::names::{config_name_problem, config_value_problem, name_problem};
use crate::raw::RawKeyValueGrant;

pub(super) fn keyvalue_grant(document: &Document, raw: RawKeyValueGrant) -> Checked<KeyValueGrant> {
    if raw.buckets.get_ref().is_empty() {
        return Err(document.refuse(raw.buckets.span(), "name at least one bucket"));
    }
    Ok(KeyValueGrant { buckets: distinct(document, raw.buckets.into_inner(), name_problem)? })
}

pub(super) fn config_grant(
    document: &Document,
    raw: BTreeMap<Spanned<String>, Spanned<String>>,
) -> Checked<ConfigGrant> {
    let mut values = BTreeMap::new();
    for (name, value) in raw {
        if let Some(problem) = config_name_problem(name.get_ref()) {
            return Err(document.refuse(name.span(), problem));
        }
        if let Some(problem) = config_value_problem(value.get_ref()) {
            return Err(document.refuse(value.span(), problem));
        }
        if values.len() == CONFIG_VALUES_MAX {
            let problem = format!("a handler has {CONFIG_VALUES_MAX} values at most");
            return Err(document.refuse(name.span(), problem));
        }
        values.insert(name.into_inner(), value.into_inner());
    }
    Ok(ConfigGrant { values })
}
