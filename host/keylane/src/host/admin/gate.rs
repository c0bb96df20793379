//! The gate before what only an operator may ask: a token, and a bound on how many ask at once.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
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
            return refuse(
                StatusCode::FORBIDDEN,
                "this host has no token, so nobody may ask it this",
                Some("set `token-file` or `token-env` under [admin] in its host file, and start it again"),
            );
        }
        Decision::Wrong => {
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
        let problem = format!("{REQUESTS_MAX} requests are being answered already");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &problem, Some("ask again in a moment"));
    };
    next.run(request).await
}

fn bearer(shown: &str) -> Option<&str> {
    let (scheme, token) = shown.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(gate: &Gate, shown: Option<&str>) -> Decision {
        let mut headers = HeaderMap::new();
        if let Some(shown) = shown {
            headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
        }
        gate.decide(&headers)
    }

    #[test]
    fn only_the_token_opens() {
        let gate = Gate::new(Some("0123456789abcdef"));
        for right in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "Bearer  0123456789abcdef"] {
            assert_eq!(decide(&gate, Some(right)), Decision::Passes, "{right:?}");
        }
        for wrong in [
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer",
            "",
        ] {
            assert_eq!(decide(&gate, Some(wrong)), Decision::Wrong, "{wrong:?}");
        }
        assert_eq!(decide(&gate, None), Decision::Wrong);
    }

    #[test]
    fn without_a_token_it_stays_shut() {
        for shown in [None, Some("Bearer "), Some("Bearer 0123456789abcdef")] {
            assert_eq!(decide(&Gate::new(None), shown), Decision::Closed);
        }
    }
}
