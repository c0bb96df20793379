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
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        let begun = Instant::now();
        if let Some(answer) = look()? {
            return Ok(answer);
        }
        if Instant::now() > end {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        std::thread::sleep(begun.elapsed().saturating_mul(LOOKS_APART).clamp(PAUSE_LEAST, PAUSE_MOST));
    }
}
