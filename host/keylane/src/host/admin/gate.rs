//! The gate before what only an operator may ask: a token, and a bound on how many ask at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use keylane_engine::Counted;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::answer::refuse;

/// Requests behind the gate at once. Each asks the owners of partitions, so more would only wait there.
const REQUESTS_MAX: usize = 4;

/// Who may pass. Only the token's digest is kept: comparing digests tells nobody by its time how much of a
/// wrong token was right.
#[derive(Clone)]
pub(super) struct Gate {
    token: Option<[u8; 32]>,
    requests: Arc<Semaphore>,
}

/// Whether a request may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Passes,
    /// The host has no token, so nobody can show it.
    Closed,
    /// It shows no token, or a wrong one.
    Wrong,
}

impl Gate {
    /// A gate for whoever shows this token; without one, for nobody.
    pub(super) fn new(token: Option<&str>) -> Self {
        Self { token: token.map(digest), requests: Arc::new(Semaphore::new(REQUESTS_MAX)) }
    }

    fn decide(&self, headers: &HeaderMap) -> Decision {
        let Some(token) = self.token else { return Decision::Closed };
        let shown = headers.get(header::AUTHORIZATION).and_then(|shown| shown.to_str().ok()).and_then(bearer);
        match shown {
            Some(shown) if digest(shown) == token => Decision::Passes,
            _ => Decision::Wrong,
        }
    }
}

/// Lets a request through, or answers it here, before its body is read.
pub(super) async fn pass(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    match gate.decide(request.headers()) {
        Decision::Passes => {}
        Decision::Closed => {
            count_refused("closed");
            return refuse(
                StatusCode::FORBIDDEN,
                "this host has no token, so nobody may ask it this",
                Some("set `token-file` or `token-env` under [admin] in its host file, and start it again"),
            );
        }
        Decision::Wrong => {
            count_refused("token");
            let mut answer = refuse(
                StatusCode::UNAUTHORIZED,
                "the token is missing or wrong",
                Some("send the host's token as the header `Authorization: Bearer TOKEN`"),
            );
            let scheme = header::HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            return answer;
        }
    }
    let Ok(_permit) = gate.requests.try_acquire() else {
        count_refused("busy");
        let problem = format!("{REQUESTS_MAX} requests are being answered already");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &problem, Some("ask again in a moment"));
    };
    let _counted = Counted::new(&metrics::gauge!("keylane_admin_requests"));
    next.run(request).await
}

/// Counts a request that did not pass.
fn count_refused(reason: &'static str) {
    metrics::counter!("keylane_admin_requests_refused_total", "reason" => reason).increment(1);
}

fn bearer(shown: &str) -> Option<&str> {
    let (scheme, token) = shown.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests;
