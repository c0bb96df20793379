//! A guest that asks services for what its event's value says, line by line, and sends what each answered to
//! the topic `echoes`, together when all is done:
//!
//! - `get URL`, `post URL TEXT`, `heavy URL BYTES`: requests; the last one with so long a body.
//! - `own URL`: a request with an `idempotency-key` of the guest's own.
//! - `brief URL`: a request that is awaited for 200 ms.
//! - `leave URL`: begins a request and does not await its answer; `tunnel URL`: asks for a tunnel.
//! - `set KEY TEXT`, `look KEY`, `add KEY NUMBER`, `remove KEY`, `keys`, `many`: values in the bucket `seen`.
//! - `swap KEY OLD NEW`: changes a value if it is `OLD`; `bucket NAME`: opens another one.
//! - `value NAME`, `values`: the configuration.
//! - `sql TEXT`: executes a statement, and goes on.
//! - `retry`, `trap`, `sleep MS`: ends that way, or takes its time.
#![allow(missing_docs, unsafe_code, reason = "a test's component, and what exports it")]

use std::time::Duration;

use keylane_sdk::bindings::wasi::http::{outgoing_handler, types};
use keylane_sdk::bindings::wasi::keyvalue::{atomics, store};
use keylane_sdk::bindings::{Event, Failure, Guest};
use keylane_sdk::http::{Request, Response};
use keylane_sdk::keyvalue::Bucket;
use keylane_sdk::{Error, config, producer, sql};

struct Services;

impl Guest for Services {
    fn handle(event: Event) -> Result<(), Failure> {
        let script = String::from_utf8(event.value.unwrap_or_default()).unwrap_or_default();
        let mut told = Vec::new();
        for line in script.lines() {
            match line.trim() {
                "retry" => return Err(keylane_sdk::Failure::retry("the script says so").into()),
                "trap" => std::process::abort(),
                "" => {}
                line => told.push(obey(line).unwrap_or_else(|error| error.to_string())),
            }
        }
        let message = producer::Message::to("echoes").value(told.join("\n"));
        message.send().map_err(|error| keylane_sdk::Failure::from(error).into())
    }
}

fn obey(line: &str) -> Result<String, Error> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "get" => Ok(shown(&Request::get(first).send()?)),
        "post" => Ok(shown(&Request::post(first).body(second).send()?)),
        "heavy" => Ok(shown(&Request::post(first).body(vec![b'x'; second.parse().unwrap_or(0)]).send()?)),
        "own" => Ok(shown(&Request::get(first).header("idempotency-key", "mine").send()?)),
        "brief" => Ok(shown(&Request::get(first).timeout(Duration::from_millis(200)).send()?)),
        "leave" => leave(first),
        "tunnel" => tunnel(first),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(rest.parse().unwrap_or(0)));
            Ok("awake".to_owned())
        }
        "bucket" => Bucket::open(first).map(|_| "open".to_owned()),
        "value" => Ok(format!("{:?}", config::get(first)?)),
        "values" => Ok(format!("{:?}", config::all()?)),
        "sql" => {
            let changed = sql::Database::open("main")?.execute(rest, &[])?;
            Ok(format!("changed {changed}"))
        }
        _ => keep(verb, first, second),
    }
}

fn keep(verb: &str, key: &str, value: &str) -> Result<String, Error> {
    let bucket = Bucket::open("seen")?;
    match verb {
        "set" => bucket.set(key, value.as_bytes()).map(|()| "set".to_owned()),
        "look" => Ok(format!("{:?}", bucket.get(key)?.map(text))),
        "add" => Ok(bucket.increment(key, value.parse().unwrap_or(0))?.to_string()),
        "remove" => bucket.delete(key).map(|()| "removed".to_owned()),
        "keys" => Ok(format!("{:?}", bucket.keys(None)?)),
        "many" => {
            let pair = |key: &str| (key.to_owned(), key.to_uppercase().into_bytes());
            bucket.set_many(&[pair("a"), pair("b"), pair("c")])?;
            bucket.delete_many(&["b".to_owned()])?;
            let values = bucket.get_many(&["c".to_owned(), "b".to_owned(), "a".to_owned()])?;
            Ok(format!(
                "{:?} {}",
                values.into_iter().map(|value| value.map(text)).collect::<Vec<_>>(),
                bucket.exists("a")?
            ))
        }
        "swap" => swap(key, value),
        unknown => Ok(format!("no verb {unknown:?}")),
    }
}

/// Changes the value if it is the first word of these, to the second.
fn swap(key: &str, words: &str) -> Result<String, Error> {
    let (old, new) = words.split_once(' ').unwrap_or((words, ""));
    let bucket = store::open("seen")?;
    let change = atomics::Cas::new(&bucket, key)?;
    let before = change.current()?.map(text);
    bucket.set(key, old.as_bytes())?;
    Ok(match atomics::swap(change, new.as_bytes()) {
        Ok(()) => format!("swapped {before:?}"),
        Err(atomics::CasError::CasFailed(again)) => format!("stands {:?}", again.current()?.map(text)),
        Err(atomics::CasError::StoreError(error)) => return Err(error.into()),
    })
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}

fn shown(response: &Response) -> String {
    let body = String::from_utf8_lossy(&response.body);
    format!("{} {} {}", response.status, response.body.len(), body.get(..20).unwrap_or(&body))
}

/// A request as the interface has it.
fn outgoing(url: &str) -> types::OutgoingRequest {
    let request = types::OutgoingRequest::new(types::Fields::new());
    let place = url.strip_prefix("http://").unwrap_or(url);
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let _ = request.set_scheme(Some(&types::Scheme::Http));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(&format!("/{path}")));
    request
}

fn leave(url: &str) -> Result<String, Error> {
    // What is left is a handle that stays open.
    std::mem::forget(outgoing_handler::handle(outgoing(url), None)?);
    Ok("left".to_owned())
}

fn tunnel(url: &str) -> Result<String, Error> {
    let request = outgoing(url);
    let _ = request.set_method(&types::Method::Connect);
    let answer = outgoing_handler::handle(request, None)?;
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(response))) => Ok(format!("a tunnel: {}", response.status())),
        Some(Ok(Err(code))) => Err(code.into()),
        _ => Ok("nothing".to_owned()),
    }
}

keylane_sdk::bindings::export!(Services with_types_in keylane_sdk::bindings);
