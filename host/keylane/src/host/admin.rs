//! The admin port: liveness, readiness and metrics over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::board::Board;

/// How often measurements are folded into what `/metrics` shows, which bounds the memory they take.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

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
/// When the address is taken or not this machine's.
pub(crate) async fn serve(listen: SocketAddr, board: Board, metrics: PrometheusHandle) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| {
        format!("the admin port {listen} cannot be opened; `admin.listen` in the host file names it")
    })?;
    tracing::info!(address = %listener.local_addr()?, "admin port");
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            upkeep.run_upkeep();
        }
    });
    let liveness = board.clone();
    let routes = Router::new()
        .route("/livez", get(async move || alive(&liveness)))
        .route("/readyz", get(async move || readiness(&board)))
        .route("/metrics", get(async move || metrics.render()));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

fn alive(board: &Board) -> (StatusCode, &'static str) {
    match board.is_alive() {
        true => (StatusCode::OK, "alive\n"),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            "a consumer gave up for good; see /readyz and start the host again\n",
        ),
    }
}

fn readiness(board: &Board) -> (StatusCode, String) {
    let (ready, text) = board.readiness();
    (if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
}
