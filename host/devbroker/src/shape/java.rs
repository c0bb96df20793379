//! Strings that are not UTF-8, read as Java reads them.

use bytes::BufMut;

use super::{Foreign, Misfit};

/// A body in which each of these strings is replaced by what Java makes of it.
pub(super) fn replaced(body: &[u8], foreign: &[Foreign], flexible: bool) -> Result<Vec<u8>, Misfit> {
    let mut out = Vec::with_capacity(body.len());
    let mut copied = 0;
    for string in foreign {
        out.put_slice(body.get(copied..string.whole.start).unwrap_or_default());
        let text = decoded(body.get(string.text.clone()).unwrap_or_default());
        if flexible {
            put_varint(&mut out, u32::try_from(text.len() + 1).map_err(|_long| Misfit::Replaced)?);
        } else {
            out.put_i16(i16::try_from(text.len()).map_err(|_long| Misfit::Replaced)?);
        }
        out.put_slice(text.as_bytes());
        copied = string.whole.end;
    }
    out.put_slice(body.get(copied..).unwrap_or_default());
    Ok(out)
}

/// What `new String(bytes, UTF_8)` holds. It differs from Rust's own lossy reading in one thing: an encoded
/// half of a surrogate pair becomes one replacement character, not three.
fn decoded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        let after = rest.get(chunk.valid().len()..).unwrap_or_default();
        let broken = match after {
            [] => 0,
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            _ => chunk.invalid().len(),
        };
        if broken > 0 {
            text.push(char::REPLACEMENT_CHARACTER);
        }
        rest = after.get(broken..).unwrap_or_default();
    }
    text
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_java_makes_of_it() {
        // Each pair was seen on Apache Kafka: committed, and read back.
        for (bytes, text) in [
            (&b"a\xff\xfeb"[..], "a\u{fffd}\u{fffd}b"),
            (b"\xe2\x82", "\u{fffd}"),
            (b"\xf0\x9f\x98x", "\u{fffd}x"),
            (b"\xc0\xaf", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80y", "\u{fffd}y"),
        ] {
            assert_eq!(decoded(bytes), text, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn it_ends_and_leaves_whole_strings_alone(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            whole in "\\PC{0,30}",
        ) {
            prop_assert!(decoded(&bytes).chars().count() <= bytes.len());
            prop_assert_eq!(decoded(whole.as_bytes()), whole);
        }
    }
}
