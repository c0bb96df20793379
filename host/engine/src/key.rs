//! A key as people read it, in logs and in the status.

use std::fmt::Write as _;

/// The most characters of a key that are shown.
const CHARACTERS_MAX: usize = 64;

/// Text where the key is printable UTF-8, else hexadecimal with `0x` before it; cut with an ellipsis.
pub(crate) fn printable(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.chars().any(char::is_control) => capped(text.chars()),
        _ => {
            let mut hex = String::from("0x");
            for byte in key.iter().take(CHARACTERS_MAX) {
                // Writing to a string does not fail.
                let _infallible = write!(hex, "{byte:02x}");
            }
            capped(hex.chars())
        }
    }
}

fn capped(characters: impl Iterator<Item = char> + Clone) -> String {
    if characters.clone().nth(CHARACTERS_MAX).is_none() {
        return characters.collect();
    }
    characters.take(CHARACTERS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_as_text_or_as_hexadecimal_and_never_at_length() {
        assert_eq!(printable(b"popug-7"), "popug-7");
        assert_eq!(printable("naïve".as_bytes()), "naïve");
        assert_eq!(printable(&[0xff, 0x00]), "0xff00");
        assert_eq!(printable(b"line\nbreak"), "0x6c696e650a627265616b", "a control character breaks logs");
        assert_eq!(printable(&[b'a'; 64]).chars().count(), 64);
        for long in [vec![b'a'; 65], vec![0xff; 5_000], "é".repeat(400).into_bytes()] {
            let shown = printable(&long);
            assert_eq!(shown.chars().count(), CHARACTERS_MAX, "{shown}");
            assert!(shown.ends_with('…'));
        }
    }
}
