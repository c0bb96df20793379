//! What the brokers' answers are taken for, whatever they say.

use proptest::prelude::*;

use super::*;

fn settings(told: &[(&str, &str)]) -> Vec<(String, String)> {
    told.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_groups_times_are_both_told_or_not_at_all() {
    let both = settings(&[("other", "x"), (SESSION_TIMEOUT, "45000"), (HEARTBEAT_INTERVAL, "5000")]);
    let expected = SessionTimes { timeout: Duration::from_secs(45), heartbeat: Duration::from_secs(5) };
    assert_eq!(times_of(&both), Some(expected));
    assert_eq!(times_of(&both[..2]), None);
    for value in ["", "-1", "4.5", "45s", " 45000", "18446744073709551616"] {
        let told = settings(&[(SESSION_TIMEOUT, value), (HEARTBEAT_INTERVAL, "5000")]);
        assert_eq!(times_of(&told), None, "{value:?}");
    }
}

proptest! {
    /// No setting of a broker is more than it says: numbers are taken as they are, all else is none.
    #[test]
    fn any_settings_are_times_or_none(
        timeout in "\\PC{0,24}|[0-9]{1,20}",
        heartbeat in "\\PC{0,24}|[0-9]{1,20}",
        others in proptest::collection::vec(("[a-z.]{0,40}", ".{0,40}"), 0..8),
    ) {
        let mut told = others.clone();
        told.push((SESSION_TIMEOUT.to_owned(), timeout.clone()));
        told.push((HEARTBEAT_INTERVAL.to_owned(), heartbeat.clone()));
        let ms = |value: &str| value.parse::<u64>().ok().map(Duration::from_millis);
        let expected = ms(&timeout)
            .zip(ms(&heartbeat))
            .map(|(timeout, heartbeat)| SessionTimes { timeout, heartbeat });
        prop_assert_eq!(times_of(&told), expected);
        prop_assert_eq!(times_of(&others), None);
    }

    #[test]
    fn an_id_is_its_bytes(bytes: [u8; 16]) {
        let (high, low) = bytes.split_at(8);
        let half = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().unwrap());
        prop_assert_eq!(id_of(half(high), half(low)), TopicId::new(bytes));
    }

    /// The client's marks for the beginning, the end and no offset are no offsets.
    #[test]
    fn an_end_of_a_log_is_never_below_zero(offset: i64) {
        prop_assert_eq!(end_of(offset).ok(), Some(offset).filter(|offset| *offset >= 0));
    }
}
