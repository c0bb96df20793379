//! Quantities: what is written is read back, and nothing else is read at all.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_size_is_read_as_it_is_shown(bytes: u64) {
        prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
    }

    #[test]
    fn a_time_is_read_as_it_is_shown(ms: u64) {
        prop_assert_eq!(Time { ms }.to_string().parse(), Ok(Time { ms }));
    }

    #[test]
    fn a_size_is_its_number_times_its_unit(number in 0_u64..1_000_000, unit in 0_usize..4) {
        let (name, factor) = SIZES[unit];
        prop_assert_eq!(format!("{number}{name}").parse(), Ok(Size(number * factor)));
    }

    #[test]
    fn a_time_is_its_number_times_its_unit(number in 0_u64..1_000_000, unit in 0_usize..4) {
        let (name, factor) = TIMES[unit];
        prop_assert_eq!(format!("{number}{name}").parse(), Ok(Time { ms: number * factor }));
    }

    #[test]
    fn other_words_are_refused_and_named(text in "\\PC*") {
        let legal = |units: &[(&str, u64)]| {
            units.iter().any(|(name, _)| {
                text.strip_suffix(name).is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
                })
            })
        };
        if !legal(&SIZES) {
            let problem = text.parse::<Size>().unwrap_err();
            prop_assert!(problem.starts_with(&format!("{text:?} is not a size")), "{}", problem);
        }
        if !legal(&TIMES) {
            prop_assert!(text.parse::<Time>().is_err());
        }
    }
}

#[test]
fn the_greatest_unit_is_used() {
    assert_eq!(Size(64 << 20).to_string(), "64MiB");
    assert_eq!(Size((64 << 20) + 1).to_string(), "67108865B");
    assert_eq!(Size(0).to_string(), "0B");
    assert_eq!(Time { ms: 90_000 }.to_string(), "90s");
    assert_eq!(Time { ms: 120_000 }.to_string(), "2m");
}

#[test]
fn what_looks_like_a_quantity_and_is_none() {
    for text in [
        "",
        "64",
        "MiB",
        "64MB",
        "64mib",
        "64 MiB",
        " 64MiB",
        "64MiB ",
        "-1B",
        "+1B",
        "1.5GiB",
        "17179869184GiB",
    ] {
        assert!(text.parse::<Size>().is_err(), "{text:?}");
    }
    for text in ["", "1", "s", "1sec", "1 s", "-1s", "0.5s", "1d", "99999999999999999999s"] {
        assert!(text.parse::<Time>().is_err(), "{text:?}");
    }
}
