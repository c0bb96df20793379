//! Answers of the admin port in JSON.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::api::Refusal;

const JSON: &str = "application/json";

/// An answer that is a yes.
pub(super) fn yes(body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => (StatusCode::OK, [(header::CONTENT_TYPE, JSON)], text + "\n").into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("no answer: {error}"), None),
    }
}

/// An answer that is a no, and what to do about it.
pub(super) fn refuse(code: StatusCode, error: &str, hint: Option<&str>) -> Response {
    let refusal = Refusal { error: error.to_owned(), hint: hint.map(str::to_owned) };
    let text = serde_json::to_string(&refusal).unwrap_or_else(|_| "{}".to_owned());
    (code, [(header::CONTENT_TYPE, JSON)], text + "\n").into_response()
}
