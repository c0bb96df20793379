//! Values of the configuration, by `wasi:config`: those that the manifest names under `[grants.config]`, as the
//! manifest or the host's own file has them.

use crate::bindings::wasi::config::store;
use crate::error::Error;

/// The value of this name; none if the manifest does not name it.
///
/// # Errors
/// [`Error::Unavailable`] if the host could not look.
pub fn get(name: &str) -> Result<Option<String>, Error> {
    Ok(store::get(name)?)
}

/// All values with their names.
///
/// # Errors
/// As [`get`].
pub fn all() -> Result<Vec<(String, String)>, Error> {
    Ok(store::get_all()?)
}
