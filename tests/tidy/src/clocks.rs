//! The lease is counted by the clock that goes on while the machine sleeps. No test can put the machine to
//! sleep, and every other clock passes as well while it is awake; so this looks at the source.

use crate::repository::{File, assert_clean, rust_files};
use crate::source::{code_only, production};

/// The one place of the host that asks the operating system for a clock by its name.
const PLACE: &str = "host/kafka/src/boot_clock.rs";
/// The one clock that is asked for there.
const CLOCK: &str = "ClockId::Boottime";
/// What asks for a clock by its name, or stands for the lease's.
const ASKS: &[&str] = &["ClockId", "clock_gettime", "CLOCK_", "impl BootClock for"];

/// What is wrong with the clocks of a production file of the host.
fn findings(file: &File) -> Vec<String> {
    let of_the_host = file.path.starts_with("host/") && file.path.contains("/src/");
    if !of_the_host || file.path.ends_with("tests.rs") || file.path.contains("/tests/") {
        return Vec::new();
    }
    let code = code_only(&file.text);
    let code = production(&code);
    if file.path == PLACE {
        return place_findings(code);
    }
    let asks = ASKS.iter().filter(|ask| code.contains(**ask));
    asks.map(|ask| format!("{}: names {ask}; the lease's clock is in {PLACE}", file.path)).collect()
}

/// Each clock that is named there must be the right one, and it must be named.
fn place_findings(code: &str) -> Vec<String> {
    let named = code.matches("ClockId::").count();
    let right = code.matches(CLOCK).count();
    let asked = code.contains(&format!("clock_gettime({CLOCK})"));
    let is_right = asked && named == right && code.contains("impl BootClock for BootTime");
    if is_right { Vec::new() } else { vec![format!("{PLACE}: does not count by {CLOCK} alone")] }
}

#[test]
fn another_clock_is_found() {
    let right = "impl BootClock for BootTime { fn now() { clock_gettime(ClockId::Boottime) } }";
    let check = |path: &str, code: &str| findings(&File::fixture(path, code)).len();
    assert_eq!(check(PLACE, right), 0);
    for wrong in [
        right.replace("Boottime", "Monotonic"),
        right.replace("Boottime", "Realtime"),
        right.replace("clock_gettime(ClockId::Boottime)", "Instant::now()"),
        format!("{right} fn other() {{ clock_gettime(ClockId::Monotonic) }}"),
        format!("// {right}"),
    ] {
        assert_eq!(check(PLACE, &wrong), 1, "{wrong}");
    }
    assert_eq!(check("host/kafka/src/intake.rs", "clock_gettime(x)"), 1);
    assert_eq!(check("host/engine/src/lease.rs", "impl BootClock for Mine {}"), 1);
    assert_eq!(
        check("host/engine/src/lease.rs", "#[cfg(test)]\nmod tests { impl BootClock for Turned {} }"),
        0
    );
    assert_eq!(check("host/engine/tests/owner/bench.rs", "impl BootClock for Clock {}"), 0);
}

#[test]
fn the_lease_is_counted_by_the_clock_that_goes_on_in_sleep() {
    let files = rust_files();
    assert!(files.iter().any(|file| file.path == PLACE), "no {PLACE}");
    assert_clean(&files.iter().flat_map(findings).collect::<Vec<_>>());
}
