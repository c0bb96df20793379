//! CPU time of a PostgreSQL server, from Linux's /proc: its first process, those that it started, and those of
//! them that have ended.

use anyhow::{Context, Result};
use keylane_e2e::usage;

/// Seconds of user and system time so far.
///
/// # Errors
/// When there is no such process.
pub(super) fn of_family(first: u32) -> Result<f64> {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // One may end meanwhile: then its time is its parent's.
        let Some(stat) = Stat::of(id) else { continue };
        if id == first {
            ticks += stat.own + stat.ended_children;
        } else if stat.parent == first {
            ticks += stat.own;
        }
    }
    Stat::of(first).context("the server has ended")?;
    Ok(ticks as f64 / usage::ticks_per_second()?)
}

/// What /proc/ID/stat says, in ticks.
struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Self::read(&stat)
    }

    /// The fields behind the name, which is in brackets: the parent is the second of them, then from the 12th on
    /// utime, stime, cutime and cstime.
    fn read(stat: &str) -> Option<Self> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = Stat::read("12 (a) b) S 7 12 12 0 -1 4194560 9 9 9 9 100 20 3 4 20 0 1 0 5").unwrap();
        assert_eq!((stat.parent, stat.own, stat.ended_children), (7, 120, 7));
        assert!(Stat::read("12").is_none());
    }
}
