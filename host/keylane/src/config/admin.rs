//! `[admin]`: where the host is watched, and with which token it is told what to do.

use std::net::SocketAddr;
use std::path::Path;

use keylane_deployment::{DeploymentError, Document};

use super::check::Checked;
use super::raw::{RawAdmin, RawHost};
use super::secret::{Secret, secret};

/// Where the admin port is when the file does not say.
const PORT: u16 = 9464;
/// The shortest token. Whoever can guess it can skip events.
const TOKEN_CHARACTERS_MIN: usize = 16;
/// How to come by one.
const HOW_TO_MAKE_ONE: &str = "make one with `openssl rand -hex 32`";

/// The admin port.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// Where it listens; 127.0.0.1:9464 by default.
    pub(crate) listen: SocketAddr,
    /// Who has this token may ask for the status and decide about lanes. Without one nobody may.
    token: Option<Secret>,
}

impl Admin {
    /// Reads a host file for its admin port alone: neither the manifests nor anything else that it names has
    /// to be there, because whoever looks at a host may do so from another folder or user.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, has an unknown key or no usable `[admin]`.
    pub(crate) fn load(file: &Path) -> Result<Self, DeploymentError> {
        let document = Document::read(file)?;
        let raw: RawHost = document.parse()?;
        admin(&document, raw.admin)
    }

    /// Reads the token, if the file names one.
    ///
    /// # Errors
    /// When it cannot be read, or is none that could be kept secret or sent in a header.
    pub(crate) fn token(&self) -> Result<Option<String>, DeploymentError> {
        let Some(secret) = &self.token else { return Ok(None) };
        let token = secret.read()?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let refused = secret.refuse("a token consists of letters, digits and signs, without blanks");
            return Err(refused.with_hint(HOW_TO_MAKE_ONE));
        }
        if token.len() < TOKEN_CHARACTERS_MIN {
            let problem = format!(
                "a token has {TOKEN_CHARACTERS_MIN} characters at least, this one has {}",
                token.len()
            );
            return Err(secret.refuse(problem).with_hint(HOW_TO_MAKE_ONE));
        }
        Ok(Some(token))
    }
}

/// Checks `[admin]`.
pub(super) fn admin(document: &Document, raw: RawAdmin) -> Checked<Admin> {
    let listen = match raw.listen {
        None => SocketAddr::from(([127, 0, 0, 1], PORT)),
        Some(listen) => listen.get_ref().parse().map_err(|_| {
            document
                .refuse(listen.span(), format!("{:?} is not an address and port", listen.get_ref()))
                .with_hint(format!("write it as in \"127.0.0.1:{PORT}\"; port 0 takes a free one"))
        })?,
    };
    Ok(Admin { listen, token: secret(document, "token", raw.token_env, raw.token_file)? })
}
