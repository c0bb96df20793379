//! `[config.HANDLER]`: values that this host says otherwise than the manifest, under the manifest's names.
//! `NAME-env` and `NAME-file` say where one comes from that does not belong in a file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keylane_deployment::{DeploymentError, Document, config_value_problem};
use toml::Spanned;

use super::check::Checked;
use super::secret::{Secret, secret};
use super::{Handler, Value};

/// A handler's values by their keys, as they are written.
pub(super) type RawValues = BTreeMap<Spanned<String>, Spanned<String>>;

impl Value {
    /// The value itself.
    ///
    /// # Errors
    /// When it cannot be read where it stands, or is larger than a value may be.
    pub(crate) fn read(&self) -> Result<String, DeploymentError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Secret(secret) => {
                let text = secret.read()?;
                config_value_problem(&text).map_or(Ok(text), |problem| Err(secret.refuse(problem)))
            }
        }
    }
}

/// Gives each handler what this host says.
pub(super) fn values(
    document: &Document,
    raw: BTreeMap<Spanned<String>, RawValues>,
    handlers: &mut [Handler],
) -> Checked<()> {
    for (name, values) in raw {
        let known = handlers.iter().map(|handler| handler.manifest.name.clone()).collect();
        let Some(handler) = handlers.iter_mut().find(|handler| handler.manifest.name == *name.get_ref())
        else {
            return Err(document.unknown_key(name.span(), name.get_ref(), known));
        };
        let granted = handler.manifest.grants.config.clone().unwrap_or_default().values;
        for (key, given) in values {
            let (name, value) = value(document, &granted, key, given)?;
            if handler.values.insert(name.clone(), value).is_some() {
                let problem = format!("`{name}` of handler {:?} is said twice", handler.manifest.name);
                return Err(document.refuse_file(problem).with_hint("say it in one way"));
            }
        }
    }
    Ok(())
}

/// One value with its name.
fn value(
    document: &Document,
    granted: &BTreeMap<String, String>,
    key: Spanned<String>,
    given: Spanned<String>,
) -> Checked<(String, Value)> {
    if granted.contains_key(key.get_ref()) {
        if let Some(problem) = config_value_problem(given.get_ref()) {
            return Err(document.refuse(given.span(), problem));
        }
        return Ok((key.into_inner(), Value::Text(given.into_inner())));
    }
    let named = |ending| key.get_ref().strip_suffix(ending).filter(|name| granted.contains_key(*name));
    let (name, from): (&str, Checked<Option<Secret>>) = if let Some(name) = named("-env") {
        (name, secret(document, name, Some(given), None))
    } else if let Some(name) = named("-file") {
        let span = given.span();
        (name, secret(document, name, None, Some(Spanned::new(span, PathBuf::from(given.into_inner())))))
    } else {
        let known = granted.keys().cloned().collect();
        return Err(document.unknown_key(key.span(), key.get_ref(), known));
    };
    let from = from?.ok_or_else(|| document.refuse(key.span(), "say where the value comes from"))?;
    Ok((name.to_owned(), Value::Secret(from)))
}
