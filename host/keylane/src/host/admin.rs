//! The admin port: liveness, readiness and metrics for everybody who reaches it; status and decisions about
//! lanes for whoever shows the token.

mod answer;
mod gate;
mod lanes;
mod status;

use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::board::Board;
use crate::api::path;
use crate::config::Admin;
use gate::Gate;
use lanes::Wish;

/// How often measurements are folded into what `/metrics` shows, which bounds the memory they take.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// The largest body of a request.
const BODY_BYTES_MAX: usize = 4_096;

/// Starts to collect metrics for the whole process.
///
/// # Errors
/// When something else collects them already.
pub(crate) fn collect_metrics() -> anyhow::Result<PrometheusHandle> {
    PrometheusBuilder::new().install_recorder().context("metrics cannot be collected")
}

/// Serves until the runtime ends.
///
/// # Errors
/// When the address is taken or not this machine's, or the token cannot be read.
pub(crate) async fn serve(
    admin: &Admin,
    fleet: &str,
    board: Board,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let token = admin.token()?;
    let listen = admin.listen;
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| {
        format!("the admin port {listen} cannot be opened; `admin.listen` in the host file names it")
    })?;
    tracing::info!(address = %listener.local_addr()?, "admin port");
    if token.is_some() && !listen.ip().is_loopback() {
        tracing::warn!(
            address = %listen,
            "the admin port is not on loopback and not encrypted: whoever can listen to the network can read its token"
        );
    }
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            upkeep.run_upkeep();
        }
    });
    let routes = open(&board, metrics).merge(guarded(fleet, &board, Gate::new(token.as_deref())));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

/// What everybody may ask.
fn open(board: &Board, metrics: PrometheusHandle) -> Router {
    let (liveness, readiness) = (board.clone(), board.clone());
    Router::new()
        .route("/livez", get(async move || alive(&liveness.ailments())))
        .route("/readyz", get(async move || ready(&readiness)))
        .route("/metrics", get(async move || metrics.render()))
}

/// What only an operator may ask.
fn guarded(fleet: &str, board: &Board, gate: Gate) -> Router {
    let (fleet, looked_at) = (fleet.to_owned(), board.clone());
    let (resuming, skipping) = (board.clone(), board.clone());
    let show = async move || answer::yes(&status::host_status(&fleet, &looked_at).await);
    let resume = async move |body: Bytes| lanes::decide(&resuming, Wish::Resume, &body).await;
    let skip = async move |body: Bytes| lanes::decide(&skipping, Wish::Skip, &body).await;
    Router::new()
        .route(path::STATUS, get(show))
        .route(path::RESUME, post(resume))
        .route(path::SKIP, post(skip))
        .route_layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route_layer(from_fn_with_state(gate, gate::pass))
}

/// Judges by what only a new process can mend.
fn alive(ailments: &[String]) -> (StatusCode, String) {
    if ailments.is_empty() {
        return (StatusCode::OK, "alive\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\nstart the host again\n", ailments.join("\n")))
}

fn ready(board: &Board) -> (StatusCode, String) {
    let (ready, text) = board.readiness();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ails_a_host_is_told_with_its_handler() {
        assert_eq!(alive(&[]), (StatusCode::OK, "alive\n".to_owned()));
        let (code, text) = alive(&["accounting: its polling thread hangs".to_owned()]);
        assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.starts_with("accounting: its polling thread hangs\n"), "{text}");
    }
}
