//! Who passes the gate, and how many at once.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore as Latch;

use super::*;

const TOKEN: &str = "0123456789abcdef";

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

/// The first line of what is answered to this token.
async fn asked(address: SocketAddr, token: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /status HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

/// A port behind a gate whose answers come when the latch lets them.
async fn gated(latch: Arc<Latch>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = async move || drop(latch.acquire().await.unwrap());
    let routes = Router::new()
        .route("/status", get(answer))
        .route_layer(from_fn_with_state(Gate::new(Some(TOKEN)), pass));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[test]
fn what_is_behind_the_gate_and_what_is_refused_is_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let shown = recorder.handle();
    let shows = |line: &str| shown.render().lines().any(|own| own == line);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let latch = Arc::new(Latch::new(0));
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let address = gated(latch.clone()).await;
            assert!(asked(address, "wrong").await.contains(" 401 "));
            let waiting: Vec<_> = (0..REQUESTS_MAX).map(|_| tokio::spawn(asked(address, TOKEN))).collect();
            let all_wait = async {
                while !shows(&format!("keylane_admin_requests {REQUESTS_MAX}")) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(40), all_wait).await.unwrap();
            assert!(asked(address, TOKEN).await.contains(" 503 "));
            latch.add_permits(1);
            for answer in waiting {
                assert!(answer.await.unwrap().contains(" 200 "));
            }
        });
    });
    for line in [
        "keylane_admin_requests 0",
        "keylane_admin_requests_refused_total{reason=\"token\"} 1",
        "keylane_admin_requests_refused_total{reason=\"busy\"} 1",
    ] {
        assert!(shows(line), "{line} is missing in\n{}", shown.render());
    }
}
