//! Waiting for a condition, with a limit and a name for what did not come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The shortest time between two looks.
const PAUSE_LEAST: Duration = Duration::from_millis(20);
/// The longest.
const PAUSE_MOST: Duration = Duration::from_secs(1);
/// How many times as long as a look took is waited for the next one: a look that costs brokers or hosts
/// something, a question to each of them perhaps, then takes them a fifth of the time at most.
const LOOKS_APART: u32 = 4;

/// Looks until there is an answer.
///
/// # Errors
/// When the limit has passed, naming what was awaited, or when looking fails.
pub fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let pause = |took: Duration| took.saturating_mul(LOOKS_APART).clamp(PAUSE_LEAST, PAUSE_MOST);
    look_often(what, limit, look, pause)
}

/// Looks as often as it can until there is an answer: for something that is over soon, where a look later
/// would be too late.
///
/// # Errors
/// When the limit has passed, naming what was awaited, or when looking fails.
pub fn closely<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    look_often(what, limit, look, |_| PAUSE_LEAST)
}

/// Looks, and pauses as long as the time that the look took asks for.
fn look_often<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
    pause: impl Fn(Duration) -> Duration,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let begun = Instant::now();
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        std::thread::sleep(pause(begun.elapsed()));
    }
}
