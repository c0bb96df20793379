//! Exact decimals as PostgreSQL sends them: a sign, a scale, and digits to the base of 10,000.

/// The sign of a negative number.
const NEGATIVE: u16 = 0x4000;
const NOT_A_NUMBER: u16 = 0xC000;
const INFINITE: u16 = 0xD000;
const NEGATIVE_INFINITE: u16 = 0xF000;
/// Decimal digits in one digit of the base.
const GROUP: usize = 4;

/// The number as text, with as many places as its scale says. None if the bytes are no number.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let mut words = bytes.chunks_exact(2).map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_be_bytes));
    let mut next = || words.next()?.ok();
    let count = usize::from(next()?);
    let weight = i32::from(next()?.cast_signed());
    let (sign, scale) = (next()?, usize::from(next()?));
    match sign {
        NOT_A_NUMBER => return Some("NaN".to_owned()),
        INFINITE => return Some("Infinity".to_owned()),
        NEGATIVE_INFINITE => return Some("-Infinity".to_owned()),
        _ => {}
    }
    let digits: Vec<u16> = std::iter::from_fn(next).take(count).collect();
    if digits.len() < count {
        return None;
    }
    let digit = |place: i32| {
        let at = usize::try_from(weight.checked_sub(place)?).ok()?;
        digits.get(at).copied()
    };
    let mut said = if sign == NEGATIVE { "-".to_owned() } else { String::new() };
    let whole: String =
        (0..=weight.max(0)).rev().map(|place| format!("{:04}", digit(place).unwrap_or(0))).collect();
    let whole = whole.trim_start_matches('0');
    said.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(GROUP)).ok()?;
        let places: String = (1..=groups).map(|place| format!("{:04}", digit(-place).unwrap_or(0))).collect();
        said.push('.');
        said.push_str(places.get(..scale)?);
    }
    Some(said)
}

/// The number that a text says, as PostgreSQL reads it. None if it says none.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let (negative, number) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, places) = number.split_once('.').unwrap_or((number, ""));
    let digits_only = |part: &str| part.bytes().all(|one| one.is_ascii_digit());
    if (whole.is_empty() && places.is_empty()) || !digits_only(whole) || !digits_only(places) {
        return None;
    }
    let before = whole.len().next_multiple_of(GROUP);
    let after = places.len().next_multiple_of(GROUP);
    let padded = format!("{whole:0>before$}{places:0<after$}");
    let groups = padded.as_bytes().chunks(GROUP);
    let mut digits: Vec<u16> =
        groups.map(|group| group.iter().fold(0, |sum, one| sum * 10 + u16::from(one - b'0'))).collect();
    let mut weight = i16::try_from(before / GROUP).ok()?.checked_sub(1)?;
    while digits.first() == Some(&0) {
        digits.remove(0);
        weight = weight.checked_sub(1)?;
    }
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let mut bytes = Vec::new();
    let sign = if negative && !digits.is_empty() { NEGATIVE } else { 0 };
    let weight = if digits.is_empty() { 0 } else { weight };
    for word in
        [u16::try_from(digits.len()).ok()?, weight.cast_unsigned(), sign, u16::try_from(places.len()).ok()?]
    {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_as_it_went() {
        for said in [
            "0",
            "1",
            "-1",
            "0.5",
            "-0.0005",
            "12345.6789",
            "100000000",
            "0.00",
            "10000",
            "99999999999999999999.000000000000000001",
        ] {
            assert_eq!(bytes(said).and_then(|bytes| text(&bytes)).as_deref(), Some(said));
        }
        assert_eq!(bytes("007").and_then(|bytes| text(&bytes)).as_deref(), Some("7"));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for said in ["", ".", "-", "1e5", "1.2.3", "x"] {
            assert_eq!(bytes(said), None, "{said}");
        }
    }
}
