//! Secrets: the file says where each comes from, an environment variable or a file of its own. A secret never
//! stands in the host file, and is read when it is needed, so that a file can be checked without it.

use std::ops::Range;
use std::path::PathBuf;

use keylane_deployment::{DeploymentError, Document};
use toml::Spanned;

use super::check::Checked;

/// A secret that is not read yet.
#[derive(Debug, Clone)]
pub(crate) struct Secret {
    source: Source,
    document: Document,
    span: Range<usize>,
}

#[derive(Debug, Clone)]
enum Source {
    Env(String),
    File(PathBuf),
}

impl Secret {
    /// Reads the secret. A line break at a file's end is not part of it.
    ///
    /// # Errors
    /// When the variable is not set or the file cannot be read.
    pub(crate) fn read(&self) -> Result<String, DeploymentError> {
        match &self.source {
            Source::Env(name) => std::env::var(name)
                .map_err(|_| self.refuse(format!("the environment variable {name} is not set"))),
            Source::File(file) => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| self.refuse(format!("cannot read {}: {error}", file.display()))),
        }
    }

    /// Refuses it where it stands in the host file.
    pub(super) fn refuse(&self, problem: impl Into<String>) -> DeploymentError {
        self.document.refuse(self.span.clone(), problem)
    }
}

/// Understands `NAME-env` and `NAME-file`, of which there may be one.
pub(super) fn secret(
    document: &Document,
    name: &str,
    env: Option<Spanned<String>>,
    file: Option<Spanned<PathBuf>>,
) -> Checked<Option<Secret>> {
    let (span, source) = match (env, file) {
        (None, None) => return Ok(None),
        (Some(env), None) => (env.span(), Source::Env(env.into_inner())),
        (None, Some(file)) => (file.span(), Source::File(document.resolve(file.get_ref()))),
        (Some(env), Some(_)) => {
            return Err(document.refuse(env.span(), format!("say `{name}-env` or `{name}-file`, not both")));
        }
    };
    Ok(Some(Secret { source, document: document.clone(), span }))
}
