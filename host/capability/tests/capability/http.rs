//! The headers of a request, within their limit and beyond.

use keylane_capability::GuestState;
use keylane_deployment::HttpGrant;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::http::types::HostFields;
use wasmtime_wasi_http::{FieldMap, WasiHttpView as _};

use crate::support::Surroundings;

/// What all headers of a request may weigh, with the overhead of each.
const LIMIT: usize = 64 * 1024;
/// More than the overhead of a few headers.
const OVERHEAD: usize = 1024;

async fn state() -> GuestState {
    let mut surroundings = Surroundings::new("");
    surroundings.manifest.grants.http = Some(HttpGrant {
        hosts: vec!["api.example.org".parse().unwrap()],
        idempotency_key: false,
        requests_max: 1,
        request_bytes_max: 1_000_000,
        response_bytes_max: 1_000_000,
    });
    surroundings.prepared().await.state()
}

fn header(number: usize, bytes: usize) -> (String, Vec<u8>) {
    (format!("x-{number}"), vec![b'x'; bytes])
}

fn borrowed(fields: &Resource<FieldMap>) -> Resource<FieldMap> {
    Resource::new_borrow(fields.rep())
}

#[tokio::test]
async fn headers_beyond_their_limit_end_the_instance() {
    let mut state = state().await;
    let within = HostFields::from_list(&mut state.http(), vec![header(0, LIMIT - OVERHEAD)]).unwrap();
    let one_more = header(1, OVERHEAD);
    let beyond =
        HostFields::append(&mut state.http(), borrowed(&within), one_more.0, one_more.1).unwrap_err();
    assert!(beyond.downcast().is_err(), "no code that a guest could go on with");
    let kept = HostFields::entries(&mut state.http(), within).unwrap();
    assert_eq!(kept, [header(0, LIMIT - OVERHEAD)], "what was too much has not come in");
    let many = (0..64).map(|number| header(number, OVERHEAD)).collect();
    let beyond = HostFields::from_list(&mut state.http(), many).unwrap_err();
    assert!(beyond.downcast().unwrap_err().to_string().contains("size"), "together, not each");
}
