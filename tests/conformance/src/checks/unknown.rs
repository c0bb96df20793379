//! Requests that a broker does not know: the connection ends at once, and nobody waits for an answer.

use super::{Check, check};
use crate::raw::Raw;
use crate::{Observed, Target};

pub(super) const CHECKS: &[Check] = &[check(
    "what_is_not_known",
    unknown,
    &["a key of nobody: closed", "metadata of the future: closed", "versions of the future: 35"],
)];

/// The start of a request: key, version, correlation id 7, no client id.
fn frame(key: i16, version: i16) -> Vec<u8> {
    let words = [&key.to_be_bytes()[..], &version.to_be_bytes(), &7_i32.to_be_bytes()];
    [words.concat(), vec![0xff, 0xff, 0, 0, 0, 0]].concat()
}

fn unknown(target: &Target) -> anyhow::Result<Observed> {
    let mut seen = Vec::new();
    for (what, key, version) in [("a key of nobody", 999, 0), ("metadata of the future", 3, 999)] {
        let mut raw = Raw::connect(target)?;
        raw.client().send(&frame(key, version))?;
        let answer = raw.client().receive();
        seen.push(format!("{what}: {}", if answer.is_ok() { "answered" } else { "closed" }));
    }
    let mut raw = Raw::connect(target)?;
    raw.client().send(&frame(18, 999))?;
    let answer = raw.client().receive()?;
    let error = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map_or(0, i16::from_be_bytes);
    seen.push(format!("versions of the future: {error}"));
    Ok(seen)
}
